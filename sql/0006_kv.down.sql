DROP FUNCTION pixshift.kv_purge(integer);
DROP FUNCTION pixshift.rate_take(text, bigint, bigint, bigint);
DROP FUNCTION pixshift.kv_add(text, bigint, bigint);
DROP FUNCTION pixshift.kv_expiry(bigint);
DROP TABLE pixshift.rate;
DROP TABLE pixshift.kv;
