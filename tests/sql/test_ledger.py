"""The ledger's rules, one by one."""
import json
import threading
import time

import psycopg2
import pytest

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def real_time(db):
    db.clock(0)
    yield
    db.clock(0)


def lines(db, hold):
    """[(kind of grant, amount)] in burn order"""
    return db.rows("SELECT g.kind, l.amount FROM pixshift.hold_lines l JOIN pixshift.grants g"
                   " ON g.id = l.grant_id WHERE l.hold_id = %s ORDER BY l.n", hold)


def entries(db, user):
    return db.rows("SELECT kind, source, amount FROM pixshift.audit_ledger WHERE user_id = %s"
                   " ORDER BY seq", user)


def remaining(db, user, kind):
    return db.one("SELECT coalesce(sum(remaining), 0)::int FROM pixshift.grants"
                  " WHERE user_id = %s AND kind = %s", user, kind)


def capture(db, hold, amount, on=None):
    return db.one("SELECT pixshift.credit_capture(%s, %s, 'job', 'j1')", hold, amount, on=on)


def release(db, hold, reason="failed"):
    return db.one("SELECT pixshift.credit_release(%s, %s)", hold, reason)


def refund(db, hold, amount, key):
    return db.one("SELECT pixshift.credit_refund(%s, %s, %s, 'sorry')", hold, amount, key)


def test_sign_up_gives_the_profile(db):
    user = db.user(lifetime=5, daily=3, initial=10)
    assert db.wallet(user) == (18, 0, 0)
    assert entries(db, user) == [("grant", "lifetime_free", 5), ("grant", "promo", 10),
                                 ("grant", "daily_free", 3)]
    db.rows("SELECT pixshift.credit_init_user(%s)", user)
    assert db.wallet(user) == (18, 0, 0)
    assert entries(db, db.user()) == []


def test_d1_one_credit_is_held_once(db):
    """D-1: 64 parallel holds with balance 1: exactly one succeeds, the rest name what is held."""
    user = db.user()
    db.give(user, 1)
    outcomes, barrier = [], threading.Barrier(64)

    def try_hold():
        connection = db.connect()
        barrier.wait()
        try:
            db.hold(user, 1, on=connection)
            outcomes.append("held")
        except psycopg2.Error as error:
            assert error.pgcode == "PX402"
            outcomes.append(json.loads(error.diag.message_detail))
        connection.close()

    threads = [threading.Thread(target=try_hold) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("held") == 1
    assert [o for o in outcomes if o != "held"] == [{"required": 1, "available": 0, "held": 1}] * 63
    assert db.wallet(user) == (1, 1, 0)


def test_d5_thirty_idle_days_leave_three(db):
    """D-5: the daily allowance is set, never added up."""
    user = db.user(daily=3)
    for day in range(1, 31):
        db.clock(day * DAY)
        if day % 7 == 0:
            continue                                    # a scheduler that was down
        assert db.one("SELECT pixshift.credit_daily(%s)", user) is True
        assert db.one("SELECT pixshift.credit_daily(%s)", user) is False
        assert db.wallet(user)[0] == 3
    assert entries(db, user)[-2:] == [("expire", "daily_free", -3), ("grant", "daily_free", 3)]
    db.clock(29 * DAY)                                  # the clock turned back gives nothing
    assert db.one("SELECT pixshift.credit_daily(%s)", user) is False
    assert db.wallet(user)[0] == 3


def test_a_hold_makes_todays_grant(db):
    user = db.user(daily=3)
    db.clock(40 * DAY)
    assert lines(db, db.hold(user, 2)) == [("daily_free", 2)]
    assert db.wallet(user) == (3, 2, 0)


def test_burn_order(db):
    """A grant for this very scope, then the soonest expiry, then the oldest."""
    user = db.user(lifetime=2, daily=3)
    db.give(user, 5)
    db.give(user, 4, kind="promo", expires="2999-01-01")
    db.give(user, 6, kind="admin")
    assert lines(db, db.hold(user, 20)) == [("lifetime_free", 2), ("daily_free", 3), ("promo", 4),
                                            ("purchase", 5), ("admin", 6)]
    other = db.user(lifetime=2)
    db.give(other, 1)
    assert db.refused("SELECT pixshift.credit_hold(%s, 2, 'generation', 'scope')", other) == "PX402"
    assert lines(db, db.hold(other, 1, scope="generation")) == [("purchase", 1)]


def test_release_restores_the_same_grants(db):
    user = db.user(lifetime=2, daily=3)
    db.give(user, 5)
    before = db.rows("SELECT id, remaining, held FROM pixshift.grants WHERE user_id = %s ORDER BY id", user)
    hold = db.hold(user, 9)
    assert db.wallet(user) == (10, 9, 0)
    assert release(db, hold) is True
    assert before == db.rows("SELECT id, remaining, held FROM pixshift.grants WHERE user_id = %s"
                             " ORDER BY id", user)
    assert len(entries(db, user)) == 3
    assert release(db, hold) is False
    assert db.refused("SELECT pixshift.credit_capture(%s, 1, 'job', 'j')", hold) == "PX409"


def test_partial_capture_releases_the_rest(db):
    user = db.user(lifetime=2)
    db.give(user, 5)
    hold = db.hold(user, 6)
    assert capture(db, hold, 3) is True
    assert db.wallet(user) == (4, 0, 3)
    assert remaining(db, user, "lifetime_free") == 0 and remaining(db, user, "purchase") == 4
    assert entries(db, user)[-1] == ("usage", "hold", -3)
    assert capture(db, hold, 3) is False
    assert db.wallet(user) == (4, 0, 3)
    assert db.refused("SELECT pixshift.credit_capture(%s, 2, 'job', 'j')", hold) == "PX409"
    assert db.refused("SELECT pixshift.credit_release(%s, 'x')", hold) == "PX409"


def test_capture_of_nothing(db):
    user = db.user()
    db.give(user, 1)
    hold = db.hold(user, 1)
    assert capture(db, hold, 0) is True
    assert db.wallet(user) == (1, 0, 0)
    free = db.hold(user, 0)
    assert lines(db, free) == []
    assert capture(db, free, 0) is True
    assert len(entries(db, user)) == 1


def test_more_than_held_is_refused(db):
    user = db.user()
    db.give(user, 5)
    hold = db.hold(user, 2)
    assert db.refused("SELECT pixshift.credit_capture(%s, 3, 'job', 'j')", hold) == "PX422"
    assert db.refused("SELECT pixshift.credit_capture(%s, -1, 'job', 'j')", hold) == "PX422"
    assert db.refused("SELECT pixshift.credit_capture(%s, NULL, 'job', 'j')", hold) == "PX422"
    assert db.refused("SELECT pixshift.credit_capture(gen_random_uuid(), 1, 'job', 'j')") == "PX404"
    assert db.wallet(user) == (5, 2, 0)


def test_expiry_during_a_hold(db):
    """What is captured was spent in time; what comes back too late goes at once, by its own entry."""
    user = db.user(daily=3)
    hold = db.hold(user, 2)
    db.clock(DAY)
    assert db.one("SELECT pixshift.credit_daily(%s)", user)
    assert db.wallet(user) == (5, 2, 0)                 # 2 held of yesterday, 3 of today
    capture(db, hold, 1)
    assert db.wallet(user) == (3, 0, 1)
    assert entries(db, user)[-2:] == [("usage", "hold", -1), ("expire", "daily_free", -1)]
    hold = db.hold(user, 2)
    db.clock(2 * DAY)
    assert release(db, hold)
    assert entries(db, user)[-1] == ("expire", "daily_free", -2)
    assert db.wallet(user) == (1, 0, 1)                 # yesterday's free one goes with the next look
    assert db.one("SELECT pixshift.credit_expire(1000)") >= 1    # other users' are due as well
    assert db.one("SELECT pixshift.credit_expire(1000)") == 0
    assert db.wallet(user) == (0, 0, 1)


def test_expired_credits_cannot_be_held(db):
    user = db.user()
    db.give(user, 5, expires="2999-01-01")
    db.clock(DAY * 366 * 1000)
    assert db.refused("SELECT pixshift.credit_hold(%s, 1, 'any', 'expired')", user) == "PX402"
    db.give(user, 1)
    db.hold(user, 1)
    assert entries(db, user)[-1] == ("expire", "purchase", -5)
    assert db.wallet(user) == (1, 1, 0)


def test_expiry_within_a_day(db):
    """No new day sweeps what is over: the hold itself must pass it by."""
    to_midnight = DAY - time.time() % DAY
    user = db.user()
    db.clock(to_midnight + HOUR)
    db.give(user, 5, expires=time.strftime("%Y-%m-%d 02:00:00+00", time.gmtime(time.time() + to_midnight + HOUR)))
    db.one("SELECT pixshift.credit_daily(%s)", user)
    db.clock(to_midnight + 3 * HOUR)
    assert db.refused("SELECT pixshift.credit_hold(%s, 1, 'any', 'within a day')", user) == "PX402"
    db.give(user, 2)
    assert lines(db, db.hold(user, 1)) == [("purchase", 1)]
    assert entries(db, user)[-1] == ("expire", "purchase", -5)
    assert db.wallet(user) == (2, 1, 0)


def test_refund_is_bounded(db):
    user = db.user()
    db.give(user, 5)
    hold = db.hold(user, 4)
    assert db.refused("SELECT pixshift.credit_refund(%s, 1, 'r0', NULL)", hold) == "PX409"
    capture(db, hold, 3)
    assert refund(db, hold, 2, "r1") is True
    assert refund(db, hold, 2, "r1") is False
    assert db.wallet(user) == (4, 0, 1)
    assert db.refused("SELECT pixshift.credit_refund(%s, 1, 'r1', NULL)", hold) == "PX409"
    assert db.refused("SELECT pixshift.credit_refund(%s, 2, 'r2', NULL)", hold) == "PX409"
    assert db.refused("SELECT pixshift.credit_refund(%s, 0, 'r2', NULL)", hold) == "PX422"
    assert refund(db, hold, 1, "r2") is True
    assert db.wallet(user) == (5, 0, 0)
    assert remaining(db, user, "purchase") == 5


def test_refund_goes_back_where_it_came_from(db):
    """The last burned first; a grant whose time is over is replaced by one of the same scope."""
    user = db.user(lifetime=1, daily=2)
    db.give(user, 5)
    hold = db.hold(user, 5)
    capture(db, hold, 5)
    db.clock(DAY)
    refund(db, hold, 3, "back1")
    assert remaining(db, user, "purchase") == 5
    assert db.rows("SELECT scope, amount, expires_at FROM pixshift.grants WHERE user_id = %s"
                   " AND kind = 'refund'", user) == [("any", 1, None)]
    refund(db, hold, 2, "back2")
    assert remaining(db, user, "lifetime_free") == 1
    assert db.wallet(user)[2] == 0


def test_d7_a_purchase_is_never_capped(db):
    user = db.user()
    db.give(user, 600, kind="subscription", expires="2999-01-01")
    db.give(user, 999999999)
    assert db.wallet(user)[0] == 1000000599


def test_every_key_counts_once(db):
    user, other = db.user(), db.user()
    first = db.give(user, 7, key="purchase:1")
    assert db.give(user, 7, key="purchase:1") == first
    assert db.wallet(user)[0] == 7
    assert db.refused("SELECT pixshift.credit_grant(%s, 'purchase', 8, 'any', NULL, 'purchase:1',"
                      " NULL, NULL, NULL)", user) == "PX409"
    assert db.refused("SELECT pixshift.credit_grant(%s, 'purchase', 7, 'any', NULL, 'purchase:1',"
                      " NULL, NULL, NULL)", other) == "PX409"
    hold = db.hold(user, 2, key="job:1")
    assert db.hold(user, 2, key="job:1") == hold
    assert db.wallet(user) == (7, 2, 0)
    assert db.refused("SELECT pixshift.credit_hold(%s, 3, 'transformation', 'job:1')", user) == "PX409"
    assert db.refused("SELECT pixshift.credit_hold(%s, 2, 'chat', 'job:1')", user) == "PX409"
    capture(db, hold, 2)
    assert db.hold(user, 2, key="job:1") == hold
    assert db.wallet(user) == (5, 0, 2)


def test_parallel_repetitions_count_once(db):
    """Sixteen deliveries of one payment at once."""
    user, results = db.user(), []
    barrier = threading.Barrier(16)

    def deliver():
        connection = db.connect()
        barrier.wait()
        results.append(db.one("SELECT pixshift.credit_grant(%s, 'purchase', 9, 'any', NULL, 'pay:par',"
                              " NULL, NULL, NULL)", user, on=connection))
        connection.close()
    threads = [threading.Thread(target=deliver) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16 and len(set(results)) == 1
    assert db.wallet(user)[0] == 9


def test_settle_batch(db):
    users = [db.user() for _ in range(5)]
    for user in users:
        db.give(user, 10)
    holds = [db.hold(user, 3) for user in users for _ in range(2)]
    amounts = [3, 0, None, 2, 1, None, 3, 3, None, None]
    batch = "SELECT pixshift.credit_settle_batch(%s::uuid[], %s, %s)"
    refs = ["job %d" % i for i in range(10)]
    assert db.one(batch, holds, amounts, refs) == 10
    assert db.one(batch, holds, amounts, refs) == 0
    assert [db.wallet(user) for user in users] == [(7, 0, 3), (8, 0, 2), (9, 0, 1), (4, 0, 6), (10, 0, 0)]
    assert db.one("SELECT reference_id FROM pixshift.audit_ledger WHERE hold_id = %s", holds[3]) == "job 3"
    fresh = [db.hold(user, 1) for user in users]
    assert db.refused(batch, fresh + fresh[:1], [1] * 6, refs[:6]) == "PX422"
    assert db.refused(batch, fresh + holds[:1], [1] * 6, refs[:6]) == "PX409"
    assert db.refused(batch, fresh + ["00000000-0000-7000-8000-000000000000"], [1] * 6,
                      refs[:6]) == "PX404"
    assert [db.wallet(user)[1] for user in users] == [1] * 5
    assert db.one(batch, fresh, [1] * 5, refs[:5]) == 5


def test_bad_arguments(db):
    user = db.user()
    nobody = "00000000-0000-7000-8000-000000000000"
    hold = "SELECT pixshift.credit_hold(%s, %s, %s, %s)"
    assert db.refused(hold, user, -1, "any", "k") == "PX422"
    assert db.refused(hold, user, None, "any", "k") == "PX422"
    assert db.refused(hold, user, 1, None, "k") == "PX422"
    assert db.refused(hold, nobody, 0, "any", "k") == "PX404"
    grant = "SELECT pixshift.credit_grant(%s, %s, %s, 'any', NULL, %s, NULL, NULL, NULL)"
    assert db.refused(grant, user, "purchase", 0, "k") == "PX422"
    assert db.refused(grant, user, "purchase", -5, "k") == "PX422"
    assert db.refused(grant, user, "gift", 5, "k") == "23514"
    assert db.refused(grant, user, "purchase", 10 ** 13, "k") == "23514"
    assert db.refused(grant, user, "purchase", 5, None) == "PX422"
    assert db.refused(grant, nobody, "purchase", 5, "k") == "PX404"


def test_nothing_is_rewritten(db):
    """Triggers refuse the owner, too."""
    user = db.user()
    db.give(user, 5)
    done, pending = db.hold(user, 1), db.hold(user, 1)
    capture(db, done, 1)
    for sql in ("UPDATE pixshift.ledger_entries SET amount = amount", "DELETE FROM pixshift.ledger_entries",
                "TRUNCATE pixshift.ledger_entries", "UPDATE pixshift.hold_lines SET amount = 9",
                "DELETE FROM pixshift.hold_lines", "DELETE FROM pixshift.holds", "TRUNCATE pixshift.holds",
                "DELETE FROM pixshift.grants", "TRUNCATE pixshift.grants", "DELETE FROM pixshift.wallets",
                "TRUNCATE pixshift.wallets", "UPDATE pixshift.grants SET amount = amount + 1",
                "UPDATE pixshift.grants SET expires_at = NULL", "UPDATE pixshift.grants SET user_id = user_id",
                "UPDATE pixshift.holds SET amount = amount + 1",
                "UPDATE pixshift.holds SET user_id = gen_random_uuid()",
                "UPDATE pixshift.holds SET key = key || 'x'"):
        assert db.refused(sql) == "PX403", sql
    change = "UPDATE pixshift.holds SET {} WHERE id = %s"
    for what in ("state = 'released', captured = 0", "captured = 0", "state = 'pending', ended_at = NULL",
                 "reason = 'x'", "ended_at = now()"):
        assert db.refused(change.format(what), done) == "PX403", what
    assert db.refused(change.format("captured = 2, state = 'captured', ended_at = now()"), pending) == "23514"
    release(db, pending)
    assert db.refused(change.format("state = 'captured'"), pending) == "PX403"
    assert db.refused("DELETE FROM pixshift.users WHERE id = %s", user) == "23503"      # C-41


def test_commit_checks_the_wallet(db):
    user = db.user()
    db.give(user, 5)
    for change in ("posted = posted + 1", "held = held + 1", "last_seq = last_seq + 1",
                   "last_hash = sha256('x')"):
        assert db.refused("UPDATE pixshift.wallets SET %s WHERE user_id = '%s'" % (change, user)) == "PX500"
    assert db.refused("UPDATE pixshift.wallets SET posted = -1 WHERE user_id = %s", user) == "23514"
    assert db.refused("UPDATE pixshift.wallets SET held = posted + 1 WHERE user_id = %s", user) == "23514"
    db.rows("SET pixshift.credit_check = off")
    with pytest.raises(psycopg2.Error):
        db.rows("UPDATE pixshift.wallets SET posted = -1 WHERE user_id = %s", user)
    db.rows("UPDATE pixshift.wallets SET posted = posted + 1 WHERE user_id = %s", user)
    assert {row[0] for row in db.violations()} == {"wallet_entries", "wallet_grants"}
    db.rows("UPDATE pixshift.wallets SET posted = posted - 1 WHERE user_id = %s", user)
    db.rows("SET pixshift.credit_check = on")
    assert db.violations() == []


TAMPERINGS = {
    "amount and balance": "UPDATE pixshift.ledger_entries SET amount = amount + 1,"
                          " balance_after = balance_after + 1 WHERE user_id = '{u}' AND seq = 2",
    "owner": "UPDATE pixshift.ledger_entries SET user_id = '{v}', seq = 100 WHERE user_id = '{u}' AND seq = 3",
    "kind": "UPDATE pixshift.ledger_entries SET kind = 'refund' WHERE user_id = '{u}' AND seq = 2",
    "source": "UPDATE pixshift.ledger_entries SET source = 'promo' WHERE user_id = '{u}' AND seq = 2",
    "reference": "UPDATE pixshift.ledger_entries SET reference_id = 'p2' WHERE user_id = '{u}' AND seq = 1",
    "note": "UPDATE pixshift.ledger_entries SET note = '' WHERE user_id = '{u}' AND seq = 1",
    "time": "UPDATE pixshift.ledger_entries SET created_at = created_at - interval '1 microsecond'"
            " WHERE user_id = '{u}' AND seq = 2",
    "idempotency key": "UPDATE pixshift.ledger_entries SET idem = idem || 'x' WHERE user_id = '{u}' AND seq = 3",
    "removal in the middle": "DELETE FROM pixshift.ledger_entries WHERE user_id = '{u}' AND seq = 2",
    "removal at the end": "DELETE FROM pixshift.ledger_entries WHERE user_id = '{u}' AND seq = 4",
    "removal of all": "DELETE FROM pixshift.ledger_entries WHERE user_id = '{u}'",
    "order": "UPDATE pixshift.ledger_entries SET seq = CASE seq WHEN 2 THEN 1003 ELSE 1002 END"
             " WHERE user_id = '{u}' AND seq IN (2, 3);"
             "UPDATE pixshift.ledger_entries SET seq = seq - 1000 WHERE user_id = '{u}' AND seq > 1000",
    "insertion": "INSERT INTO pixshift.ledger_entries SELECT user_id, seq + 1, kind, source, amount,"
                 " balance_after + amount, held_after, hold_id, idem || 'x', reference_type, reference_id,"
                 " note, created_at, hash, sha256(hash) FROM pixshift.ledger_entries"
                 " WHERE user_id = '{u}' AND seq = 4",
    "hash": "UPDATE pixshift.ledger_entries SET hash = sha256(hash) WHERE user_id = '{u}' AND seq = 2",
    "rewritten with a fresh hash":
        "UPDATE pixshift.ledger_entries SET note = 'x', hash = pixshift.ledger_hash(prev_hash, user_id, seq,"
        " kind, source, amount, balance_after, held_after, hold_id, idem, reference_type, reference_id, 'x',"
        " created_at) WHERE user_id = '{u}' AND seq = 2",
    "a shift between columns": "UPDATE pixshift.ledger_entries SET reference_type = reference_type || ','"
                               " || reference_id, reference_id = NULL WHERE user_id = '{u}' AND seq = 1",
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_is_found(db, kind):
    """Somebody who may do everything, triggers off, is found by ledger_verify."""
    user, other = db.user(), db.user()
    for i in range(4):
        db.give(user, 10 + i)
    connection = psycopg2.connect(db.dsn)
    try:
        db.rows("SET session_replication_role = replica", on=connection)
        db.rows(TAMPERINGS[kind].format(u=user, v=other), on=connection)
        found = db.violations(on=connection)
        assert found, kind
        assert {"chain", "wallet_entries"} & {row[0] for row in found}
    finally:
        connection.rollback()
        connection.close()
    assert db.violations() == []


@pytest.mark.parametrize("view, sql", [
    ("wallet_grants", "UPDATE pixshift.grants SET remaining = remaining - 1 WHERE user_id = '{u}'"),
    ("wallet_holds", "UPDATE pixshift.wallets SET held = held - 1 WHERE user_id = '{u}'"),
    ("wallet_used", "UPDATE pixshift.wallets SET total_used = 77 WHERE user_id = '{u}'"),
    ("hold_lines", "DELETE FROM pixshift.hold_lines WHERE hold_id = '{h}'"),
    ("grant_held", "UPDATE pixshift.grants SET held = held + 1 WHERE user_id = '{u}'"),
    ("hold_entries", "UPDATE pixshift.holds SET captured = 1, state = 'captured', ended_at = now()"
                     " WHERE id = '{h}'"),
    ("hold_entries", "UPDATE pixshift.holds SET state = 'released', captured = 0 WHERE id = '{d}'"),
    ("grant_entries", "UPDATE pixshift.grants SET amount = amount + 5 WHERE user_id = '{u}'"),
    ("orphan", "DELETE FROM pixshift.wallets WHERE user_id = '{u}'"),
    ("duplicate", "INSERT INTO pixshift.grants (user_id, kind, scope, amount, remaining, key)"
                  " SELECT user_id, 'lifetime_free', 'any', 1, 0, gen_random_uuid() FROM pixshift.wallets,"
                  " generate_series(1, 2) WHERE user_id = '{u}'"),
    ("seq_gap", "DELETE FROM pixshift.ledger_entries WHERE user_id = '{u}' AND seq = 1"),
    ("entry_balance", "UPDATE pixshift.ledger_entries SET amount = amount + 3 WHERE user_id = '{u}'"
                      " AND seq = 1"),
    ("negative", "ALTER TABLE pixshift.wallets DROP CONSTRAINT wallet_bounds;"
                 "UPDATE pixshift.wallets SET held = posted + 1 WHERE user_id = '{u}'"),
    ("hold_state", "ALTER TABLE pixshift.holds DROP CONSTRAINT hold_bounds;"
                   "UPDATE pixshift.holds SET captured = amount + 1 WHERE id = '{d}'"),
])
def test_each_view_can_fail(db, view, sql):
    user = db.user()
    db.give(user, 10)
    db.give(user, 10)
    hold, done = db.hold(user, 2), db.hold(user, 2)
    capture(db, done, 1)
    connection = psycopg2.connect(db.dsn)
    try:
        db.rows("SET session_replication_role = replica", on=connection)
        db.rows(sql.format(u=user, h=hold, d=done), on=connection)
        assert view in {row[0] for row in db.violations(on=connection)}
    finally:
        connection.rollback()
        connection.close()


def test_service_role_reads_and_calls(db):
    """The service's role cannot change the books but through the functions."""
    user = db.user()
    db.give(user, 5)
    db.rows("DROP ROLE IF EXISTS px_service")
    db.rows("CREATE ROLE px_service LOGIN")
    db.rows("SELECT pixshift.grant_app('px_service')")
    connection = psycopg2.connect(db.dsn.replace("user=pixshift_owner", "user=px_service"))
    connection.autocommit = True
    for sql in ("UPDATE pixshift.wallets SET posted = 9", "INSERT INTO pixshift.grants DEFAULT VALUES",
                "DELETE FROM pixshift.holds", "TRUNCATE pixshift.ledger_entries",
                "ALTER TABLE pixshift.ledger_entries DISABLE TRIGGER ALL",
                "SELECT pixshift.credit_post('%s', 'grant', 'admin', 9, 0, NULL, 'x', NULL, NULL, NULL)" % user,
                "SELECT pixshift.credit_add('%s', 'admin', 9, 'any', NULL, 'x', NULL, NULL, NULL)" % user,
                "SELECT pixshift.grant_app('px_service')"):
        assert db.refused(sql, on=connection) == "42501", sql
    hold = db.hold(user, 2, on=connection)
    assert capture(db, hold, 2, on=connection) is True
    assert db.one("SELECT count(*) FROM pixshift.audit_ledger WHERE user_id = %s", user, on=connection) == 2
    assert db.violations(on=connection) == []
    connection.close()
    db.rows("DROP OWNED BY px_service; DROP ROLE px_service")


def test_audit_views_keep_their_columns(db):
    """An auditor's queries outlive releases."""
    def columns(view):
        return [row[0] for row in db.rows("SELECT column_name::text FROM information_schema.columns WHERE"
                                          " table_schema = 'pixshift' AND table_name = %s"
                                          " ORDER BY ordinal_position", view)]
    assert columns("audit_balance") == ["user_id", "posted", "held", "available", "total_used", "last_seq"]
    assert columns("audit_ledger") == [
        "user_id", "seq", "kind", "source", "amount", "balance_after", "held_after", "hold_id", "idem",
        "reference_type", "reference_id", "note", "created_at", "prev_hash", "hash"]
    assert columns("audit_hold") == ["id", "user_id", "amount", "captured", "refunded", "scope", "state",
                                     "key", "reason", "created_at", "ended_at"]
    assert columns("audit_outbox") == ["id", "topic", "user_id", "aggregate_type", "aggregate_id", "key",
                                       "created_at", "delivered", "attempts"]


def test_outbox_is_written_once(db):
    put = "SELECT pixshift.outbox_put('job.succeeded', NULL, 'job', 'j1', %s, '{\"a\": 1}')"
    first = db.one(put, "job:j1:succeeded")
    assert first is not None
    assert db.one(put, "job:j1:succeeded") is None
    assert db.refused("UPDATE pixshift.outbox SET payload = '{}'") == "PX403"
    db.rows("UPDATE pixshift.outbox SET attempts = 1, done_at = pixshift.now() WHERE id = %s", first)
    assert db.rows("SELECT delivered, attempts FROM pixshift.audit_outbox WHERE id = %s", first) == [(True, 1)]
    assert db.refused("SELECT pixshift.outbox_put('Bad topic', NULL, 'job', 'j', 'k', NULL)") == "23514"
