"""A private PostgreSQL for the whole run, and a migrated database for each test module."""
import os
import sys

import psycopg2
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from pg import PrivatePostgres  # noqa: E402  (needs the path above)

# In place of account's table: the ledger needs nothing of a user but the id.
USERS = "CREATE TABLE pixshift.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid())"
LEDGER = {1, 3, 5, 7}


class Database:
    """One connection in autocommit with helpers; `connect` gives more for threads."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.main = self.connect()

    def connect(self):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return connection

    def rows(self, sql, *args, on=None):
        with (on or self.main).cursor() as cursor:
            cursor.execute(sql, args or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, sql, *args, on=None):
        return self.rows(sql, *args, on=on)[0][0]

    def refused(self, sql, *args, on=None):
        """SQLSTATE of a statement that must fail."""
        try:
            self.rows(sql, *args, on=on)
        except psycopg2.Error as error:
            return error.pgcode
        return None

    def user(self, lifetime=0, daily=0, initial=0):
        """A user whose sign-up gave these credits."""
        self.rows("UPDATE pixshift.credit_profile SET lifetime_free = %s, daily_free = %s, initial = %s",
                  lifetime, daily, initial)
        user = self.one("INSERT INTO pixshift.users DEFAULT VALUES RETURNING id")
        self.rows("SELECT pixshift.credit_init_user(%s)", user)
        return user

    def give(self, user, amount, key=None, kind="purchase", scope="any", expires=None):
        return self.one("SELECT pixshift.credit_grant(%s, %s, %s, %s, %s, coalesce(%s,"
                        " gen_random_uuid()::text), 'payment', 'p1', NULL)", user, kind, amount, scope,
                        expires, key)

    def hold(self, user, amount, key=None, scope="transformation", on=None):
        return self.one("SELECT pixshift.credit_hold(%s, %s, %s, coalesce(%s,"
                        " gen_random_uuid()::text))", user, amount, scope, key, on=on)

    def wallet(self, user):
        """(posted, held, total_used)"""
        return self.rows("SELECT posted, held, total_used FROM pixshift.audit_balance"
                         " WHERE user_id = %s", user)[0]

    def clock(self, seconds):
        """Moves this session's test clock to `seconds` after the real one."""
        self.rows("SELECT set_config('pixshift.clock_offset', %s, false)", str(int(seconds * 1000000)))

    def violations(self, on=None):
        return self.rows("SELECT * FROM pixshift.ledger_verify()", on=on)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    server = PrivatePostgres(tmp_path_factory.mktemp("pg"), fsync=False).start()
    yield server
    server.destroy()


@pytest.fixture(scope="module")
def db(cluster, request):
    name = request.module.__name__
    dsn = cluster.createdb(name)
    cluster.migrate(name, before={3: USERS}, only=LEDGER)
    database = Database(dsn)
    yield database
    violations = database.violations()
    database.main.close()
    cluster.dropdb(name)
    assert violations == []
