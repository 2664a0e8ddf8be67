DROP VIEW pixshift.audit_outbox;
DROP FUNCTION pixshift.outbox_put(text, uuid, text, text, text, jsonb);
DROP TABLE pixshift.outbox;
DROP FUNCTION pixshift.outbox_guard();
