-- Takes the whole schema away; the migrations above it have been taken back by now, so CASCADE would
-- only hide a down file that forgot something.
DROP FUNCTION pixshift.grant_app(name);
DROP FUNCTION pixshift.refuse_change();
DROP FUNCTION pixshift.uuid7();
DROP FUNCTION pixshift.from_usec(bigint);
DROP FUNCTION pixshift.usec(timestamptz);
DROP FUNCTION pixshift.now();
DROP TABLE pixshift.schema_migrations;
DROP SCHEMA pixshift;
