DROP TABLE pixshift.idempotency;
