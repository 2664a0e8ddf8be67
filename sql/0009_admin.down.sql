DROP FUNCTION pixshift.grant_app_admin(name);
DROP VIEW pixshift.revenue;
DROP VIEW pixshift.violation_audit_chain;
DROP FUNCTION pixshift.audit_put(uuid, text, text, text, text, jsonb, jsonb, text, text, text);
DROP FUNCTION pixshift.audit_hash(pixshift.audit_log);
DROP TABLE pixshift.audit_heads;
DROP TABLE pixshift.audit_log;
