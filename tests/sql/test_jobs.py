"""Jobs in the database: creation with limits and hold, leases and fencing, ends, rescue, redrive."""
import json
import threading
import uuid

import pytest

from conftest import Database


@pytest.fixture(scope="module")
def db(cluster):
    dsn = cluster.createdb("test_jobs")
    cluster.migrate("test_jobs")
    database = Database(dsn)
    yield database
    violations = database.violations()
    database.main.close()
    cluster.dropdb("test_jobs")
    assert violations == []


@pytest.fixture
def user(db):
    db.rows("SELECT pixshift.job_end(ARRAY[id], ARRAY['canceled'], ARRAY[NULL]::uuid[], ARRAY['X'], ARRAY['x'],"
            " ARRAY[false]) FROM pixshift.jobs WHERE completed_at IS NULL")      # what other tests left
    made = db.one("INSERT INTO pixshift.users (email) VALUES (%s) RETURNING id", uuid.uuid4().hex + "@example.org")
    db.rows("UPDATE pixshift.credit_profile SET lifetime_free = 0, daily_free = 0, initial = 0")
    db.rows("SELECT pixshift.credit_init_user(%s)", made)
    db.give(made, 10)
    return made


CREATE = ("SELECT * FROM pixshift.job_create(%s, %s, 'transformation', NULL, '{}', 'sepia', '[]', %s, %s, 'any', NULL,"
          " %s, NULL, %s, %s, 180000, 3, %s)")


def create(db, user, job=None, idem=None, cost=1, per_user=100, rules=(), claims=5, retention="ephemeral", on=None):
    return db.rows(CREATE, job or str(uuid.uuid4()), user, retention, cost, idem, per_user, json.dumps(list(rules)),
                   claims, on=on)[0]


def claim(db, worker, limit=10, lease=30000, on=None):
    """[(id, token)] in the order of urgency."""
    return [(row[0], row[1]) for row in db.rows("SELECT id, token FROM pixshift.job_claim(%s, %s, %s)", worker, limit,
                                                lease, on=on)]


def finish(db, job, token, state="succeeded", dead=False):
    code = None if state == "succeeded" else "PROVIDER"
    return [row[0] for row in db.rows(
        "SELECT pixshift.job_finish(ARRAY[%s]::uuid[], ARRAY[%s]::uuid[], ARRAY[%s], ARRAY[NULL]::uuid[], ARRAY[%s],"
        " ARRAY['It did not work.'], ARRAY[%s])", job, token, state, code, dead)]


def row(db, job, what="state"):
    return db.rows(f"SELECT {what} FROM pixshift.jobs WHERE id = %s", job)[0]


def events(db, job):
    return [e for e, in db.rows("SELECT event FROM pixshift.job_events WHERE job_id = %s ORDER BY seq", job)]


def worker(db):
    made = str(uuid.uuid4())
    db.rows("INSERT INTO pixshift.workers (id, host, pid, started_at) VALUES (%s, 'test', 1, now())", made)
    return made


def test_create_holds_once(db, user):
    job = str(uuid.uuid4())
    assert create(db, user, job, idem="a") == (job, True)
    assert create(db, user, job, idem="a") == (job, False)
    assert create(db, user, idem="a") == (job, False), "the same idem finds the first job"
    assert db.wallet(user) == (10, 1, 0)
    assert events(db, job) == ["job.queued"]


def test_no_credits_leaves_nothing(db, user):
    job = str(uuid.uuid4())
    assert db.refused(CREATE, job, user, "ephemeral", 11, None, 100, "[]", 5) == "PX402"
    assert db.rows("SELECT 1 FROM pixshift.jobs WHERE id = %s", job) == []
    assert db.wallet(user)[1] == 0


def test_unfinished_jobs_per_user(db, user):
    create(db, user, per_user=2)
    create(db, user, per_user=2)
    assert db.refused(CREATE, str(uuid.uuid4()), user, "ephemeral", 1, None, 2, "[]", 5) == "PX429"


def test_window_limit_is_exact_in_parallel(db, user):
    rules = [{"name": "day", "subject": "user:" + user, "limit": 3, "window_ms": 86400000}]
    outcomes, barrier = [], threading.Barrier(8)

    def one():
        connection = db.connect()
        barrier.wait()
        outcomes.append(db.refused(CREATE, str(uuid.uuid4()), user, "ephemeral", 1, None, 100, json.dumps(rules), 5,
                                   on=connection))
        connection.close()
    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == sorted([None] * 3 + ["PX429"] * 5, key=str)
    db.clock(86400)
    try:
        assert create(db, user, rules=rules)[1] is True, "a new day begins at zero"
    finally:
        db.clock(0)


def test_two_workers_never_share(db, user):
    jobs = {create(db, user)[0] for _ in range(6)}
    one, two = worker(db), worker(db)
    other = db.connect()
    db.rows("BEGIN")
    first = claim(db, one, 3)
    second = claim(db, two, 10, on=other)
    db.rows("COMMIT")
    assert len(first) == 3 and len(second) == 3
    assert {j for j, _ in first} | {j for j, _ in second} == jobs
    for job, token in first + second:
        assert finish(db, job, token) == [job]
    other.close()


def test_end_settles_and_tells_once(db, user):
    good, bad = create(db, user, cost=2)[0], create(db, user, cost=3)[0]
    tokens = dict(claim(db, worker(db)))
    assert db.wallet(user) == (10, 5, 0)
    assert finish(db, good, tokens[good]) == [good]
    assert finish(db, bad, tokens[bad], "failed") == [bad]
    assert db.wallet(user) == (8, 0, 2)
    assert row(db, good, "state, credits_used, lease_token") == ("succeeded", 2, None)
    assert row(db, bad, "state, credits_used, error_code") == ("failed", 0, "PROVIDER")
    assert events(db, good) == ["job.queued", "job.running", "job.succeeded"]
    topics = db.rows("SELECT topic FROM pixshift.outbox WHERE aggregate_id = %s ORDER BY id", good)
    assert sorted(topics) == [("job.succeeded",), ("transformation.completed",)]
    assert finish(db, good, tokens[good]) == [], "the lease ended with the job"
    assert db.wallet(user) == (8, 0, 2)


def test_old_token_changes_nothing(db, user):
    job = create(db, user)[0]
    first, second = worker(db), worker(db)
    (_, old), = claim(db, first)
    db.rows("UPDATE pixshift.jobs SET lease_until = pixshift.now() - interval '1 second' WHERE id = %s", job)
    db.rows("SELECT pixshift.job_reap(%s, 100)", second)
    (_, new), = claim(db, second)
    assert new != old
    assert finish(db, job, old) == [] and row(db, job) == ("running",)
    assert db.one("SELECT pixshift.attempt_begin(%s, %s, 'x', false)", job, old) is None
    assert finish(db, job, new) == [job]
    assert row(db, job, "leases") == (2,)


def test_running_means_leased(db, user):
    job = create(db, user)[0]
    assert db.refused("UPDATE pixshift.jobs SET state = 'running' WHERE id = %s", job) == "23514"


def test_dead_workers_jobs_come_first(db, user):
    dead, alive = worker(db), worker(db)
    session = db.connect()
    db.rows("SELECT pg_advisory_lock(pixshift.worker_class(), lock_key) FROM pixshift.workers WHERE id = %s", alive,
            on=session)
    lost, kept = create(db, user)[0], create(db, user)[0]
    claim(db, dead, 1)
    claim(db, alive, 1)
    later = create(db, user)[0]
    rescuer = worker(db)
    assert db.rows("SELECT * FROM pixshift.job_reap(%s, 100)", rescuer) == [(1, 0, 0)]
    assert row(db, kept) == ("running",) and row(db, lost) == ("queued",)
    assert [j for j, _ in claim(db, rescuer)] == [lost, later]
    session.close()


def test_last_claim_is_a_dead_letter(db, user):
    job = create(db, user, claims=1)[0]
    claim(db, worker(db))
    assert db.rows("SELECT * FROM pixshift.job_reap(%s, 100)", worker(db)) == [(0, 1, 0)]
    assert row(db, job, "state, claims") == ("failed", 1)
    assert db.rows("SELECT retry FROM pixshift.dead_letters WHERE job_id = %s", job) == [(0,)]
    assert db.wallet(user) == (10, 0, 0)


def test_leases_given_back_do_not_count(db, user):
    job = create(db, user, claims=1)[0]
    mine = worker(db)
    for _ in range(3):
        (_, token), = claim(db, mine)
        back = db.rows("SELECT pixshift.job_requeue(ARRAY[%s]::uuid[], ARRAY[%s]::uuid[], ARRAY[0])", job, token)
        assert back == [(job,)]
    assert row(db, job, "state, claims, leases") == ("queued", 0, 3)


def test_deadline_releases(db, user):
    job = create(db, user)[0]
    db.clock(200)
    try:
        assert db.rows("SELECT * FROM pixshift.job_reap(%s, 100)", worker(db)) == [(0, 0, 1)]
    finally:
        db.clock(0)
    assert row(db, job) == ("expired",)
    assert db.wallet(user) == (10, 0, 0)


def test_cancel(db, user):
    queued, running = create(db, user)[0], None
    assert db.one("SELECT pixshift.job_cancel(%s, %s)", queued, user) == "canceled"
    assert db.wallet(user) == (10, 0, 0)
    running = create(db, user)[0]
    (_, token), = claim(db, worker(db))
    assert db.refused("SELECT pixshift.job_cancel(%s, %s)", running, str(uuid.uuid4())) == "PX404"
    assert db.one("SELECT pixshift.job_cancel(%s, NULL)", running) == "canceling"
    assert finish(db, running, token, "canceled") == [running]
    assert db.one("SELECT pixshift.job_cancel(%s, %s)", running, user) == "canceled", "its state, unchanged"


def test_redrive_takes_a_new_hold(db, user):
    job = create(db, user)[0]
    (_, token), = claim(db, worker(db))
    finish(db, job, token, "failed", dead=True)
    old = row(db, job, "hold_id")
    redrive = "SELECT pixshift.job_redrive(%s, %s, 'any', 100, '[]', 180000)"
    db.rows(redrive, job, user)
    assert row(db, job, "state, attempt, retry_count, error_code") == ("queued", 0, 1, None)
    assert row(db, job, "hold_id") != old and db.wallet(user) == (10, 1, 0)
    assert db.refused(redrive, job, user) == "PX409"
    (_, token), = claim(db, worker(db))
    assert finish(db, job, token) == [job]
    assert db.wallet(user) == (9, 0, 1)
    assert db.one("SELECT redriven_at IS NOT NULL FROM pixshift.dead_letters WHERE job_id = %s", job)


def test_try_without_an_end_is_repeated_under_its_number(db, user):
    job = create(db, user)[0]
    (_, token), = claim(db, worker(db))
    begin = "SELECT pixshift.attempt_begin(%s, %s, %s, %s)"
    assert db.one(begin, job, token, "one", False) == 1
    assert db.one("SELECT pixshift.attempt_note(%s, %s, 2, 'remote-1', 'r1', 5000)", job, token)
    db.rows("UPDATE pixshift.jobs SET lease_until = pixshift.now() - interval '1 second' WHERE id = %s", job)
    db.rows("SELECT pixshift.job_reap(%s, 100)", worker(db))
    found = db.rows("SELECT token, attempt, open_provider, open_phase, open_token FROM pixshift.job_claim(%s, 1, 30000)",
                    worker(db))
    assert found[0][1:] == (1, "one", 2, "remote-1")
    assert db.one(begin, job, found[0][0], "one", True) == 1
    assert db.one("SELECT pixshift.attempt_end(ARRAY[%s]::uuid[], ARRAY[%s]::uuid[], ARRAY['timeout'], ARRAY['late'],"
                  " ARRAY[NULL], ARRAY[NULL], ARRAY[-1])", job, found[0][0]) == 1
    assert db.one(begin, job, found[0][0], "two", False) == 2
    rows = db.rows("SELECT attempt, provider, sends, outcome, remote_id FROM pixshift.job_attempts WHERE job_id = %s"
                   " ORDER BY 1", job)
    assert rows == [(1, "one", 2, "timeout", "r1"), (2, "two", 1, None, None)]


def image(db, user, retention, lifetime):
    made = str(uuid.uuid4())
    db.rows("INSERT INTO pixshift.images (id, user_id, kind, state, key, mime, width, height, bytes, sha256, retention,"
            " lifetime_ms, delete_after) VALUES (%s, %s, 'result', 'ready', %s, 'image/png', 1, 1, 1, repeat('0', 64), %s,"
            " %s, pixshift.now() + %s * interval '1 ms')", made, user, "k/" + made, retention, lifetime, lifetime)
    return made


def test_download_starts_the_last_minutes(db, user):
    """C-15"""
    left = "SELECT extract(epoch FROM delete_after - pixshift.now()) FROM pixshift.images WHERE id = %s"
    brief, kept = image(db, user, "ephemeral", 86400000), image(db, user, "persistent", None)
    for one in (brief, brief, kept):
        db.rows("SELECT pixshift.image_downloaded(%s, 300000)", one)
    assert 290 < db.one(left, brief) <= 300
    assert db.one(left, kept) is None
    soon = image(db, user, "ephemeral", 60000)
    db.rows("SELECT pixshift.image_downloaded(%s, 300000)", soon)
    assert db.one(left, soon) <= 60, "a download never lengthens a life"


def test_kept_by_nobody_is_given_once(db, user):
    """C-14"""
    once = image(db, user, "none", 86400000)
    assert db.one("SELECT pixshift.image_take_once(%s)", once) is True
    assert db.one("SELECT pixshift.image_take_once(%s)", once) is False
