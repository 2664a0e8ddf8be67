"""Idempotency-Key on creates: replay, mismatch, twins, one space per user."""
import threading
import time
import uuid

import psycopg2
import pytest

from pixshift import dump, in_parallel, wait_for

GENERATE = '/api/v1/api-keys/generate'


def once():
    return {'Idempotency-Key': uuid.uuid4().hex}


def keys_of(user):
    return user.get('/api/v1/api-keys').json()['total']


def test_replay(user):
    key = once()
    first = user.post(GENERATE, json={'name': 'a'}, headers=key)
    second = user.post(GENERATE, json={'name': 'a'}, headers=key)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content, 'secrets too: the first reply may have been lost'
    assert 'Idempotent-Replayed' not in first.headers
    assert second.headers['Idempotent-Replayed'] == 'true'
    assert second.headers['X-Request-Id'] != first.headers['X-Request-Id']
    assert keys_of(user) == 2


def test_without_a_key_each_request_counts(user):
    for _ in range(2):
        assert user.post(GENERATE, json={'name': 'a'}).status_code == 201
    assert keys_of(user) == 3


def test_another_body_is_refused(user):
    key = once()
    assert user.post(GENERATE, json={'name': 'a'}, headers=key).status_code == 201
    other = user.post(GENERATE, json={'name': 'b'}, headers=key)
    assert other.status_code == 422 and other.json()['error']['code'] == 'IDEMPOTENCY_MISMATCH', dump(other)
    path = user.post('/api/v1/generate', json={'prompt': 'a house'}, headers=key)
    assert path.status_code == 422, 'another address is another request'
    assert keys_of(user) == 2


def test_a_concurrent_twin_waits(server, user):
    """409 with Retry-After while the first runs; the recorded reply afterwards."""
    key, replies = once(), []
    with psycopg2.connect(server.dsn) as blocker, blocker.cursor() as cursor:
        cursor.execute('LOCK TABLE pixshift.api_keys IN SHARE MODE')    # inserts wait
        first = threading.Thread(target=lambda: replies.append(user.post(GENERATE, json={}, headers=key)))
        first.start()
        wait_for(lambda: server.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), what='the first request')
        twin = server.anonymous()
        twin.headers = dict(user.headers)
        reply = twin.post(GENERATE, json={}, headers=key)
        assert reply.status_code == 409 and reply.json()['error']['code'] == 'IDEMPOTENCY_BUSY', dump(reply)
        assert int(reply.headers['Retry-After']) >= 1
        blocker.rollback()
    first.join()
    assert replies[0].status_code == 201, dump(replies[0])
    again = user.post(GENERATE, json={}, headers=key)
    assert again.status_code == 201 and again.json() == replies[0].json()
    assert keys_of(user) == 2


def test_a_crowd_makes_one(server, user):
    key = once()
    replies = in_parallel(16, lambda i: type(user)(server, user.headers).post(GENERATE, json={}, headers=key))
    made = [r for r in replies if r.status_code == 201]
    assert made and all(r.status_code in (201, 409) for r in replies), [dump(r) for r in replies][:2]
    assert len({r.content for r in made}) == 1
    assert sum('Idempotent-Replayed' not in r.headers for r in made) == 1
    assert keys_of(user) == 2


def test_keys_belong_to_users(server, user):
    other, key = server.sign_up(), once()
    mine = user.post(GENERATE, json={'name': 'a'}, headers=key).json()
    theirs = other.post(GENERATE, json={'name': 'b'}, headers=key)
    assert theirs.status_code == 201 and theirs.json()['api_key'] != mine['api_key']
    assert 'Idempotent-Replayed' not in theirs.headers


def test_one_space_for_all_credentials_of_a_user(server, user):
    key, body = once(), {'prompt': 'a red house'}
    first = user.post('/api/v1/generate', json=body, headers=key)
    assert first.status_code == 202, dump(first)
    again = user.with_key().post('/api/v1/generate', json=body, headers=key)
    assert again.json()['job_id'] == first.json()['job_id'] and again.headers['Idempotent-Replayed'] == 'true'
    assert server.value('SELECT count(*) FROM pixshift.jobs WHERE user_id = %s', (user.id,)) == 1


def test_registration_is_replayed_for_the_address(server):
    key, body = once(), {'email': f'{uuid.uuid4().hex}@example.org', 'password': 'correct horse battery'}
    first, second = (server.anonymous().post('/api/v1/auth/register', json=body, headers=key) for _ in range(2))
    assert first.status_code == second.status_code == 201 and first.json() == second.json()


def test_lasting_errors_are_replayed_passing_ones_are_not(server, user):
    key = once()
    first = user.post(GENERATE, json={'name': ''}, headers=key)
    assert first.status_code == 400
    assert user.post(GENERATE, json={'name': ''}, headers=key).headers['Idempotent-Replayed'] == 'true'
    # 402 gives the key back: the same request may succeed once there are credits.
    server.sql("UPDATE pixshift.users SET pricing_tier = NULL WHERE id = %s", (user.id,))
    key, body = once(), {'prompt': 'a red house'}
    for _ in range(3):
        user.post('/api/v1/generate', json=body, headers={'Prefer': 'wait=20'})
    poor = user.post('/api/v1/generate', json=body, headers=key)
    assert poor.status_code == 402, dump(poor)
    server.grant(user, 1)
    rich = user.post('/api/v1/generate', json=body, headers=key)
    assert rich.status_code == 202 and 'Idempotent-Replayed' not in rich.headers, dump(rich)


@pytest.mark.parametrize('value', ['x' * 256, 'with space', 'ümlaut'.encode()])
def test_malformed_keys(user, value):
    reply = user.post(GENERATE, json={}, headers={'Idempotency-Key': value})
    assert reply.status_code == 400, dump(reply)


def test_records_run_out(server, user):
    """24 hours, in the database's own time."""
    key = once()
    assert user.post(GENERATE, json={}, headers=key).status_code == 201
    left = server.value("SELECT max(expires_at) - pixshift.now() FROM pixshift.idempotency")
    assert 86000 < left.total_seconds() <= 86400
    server.sql("UPDATE pixshift.idempotency SET expires_at = pixshift.now() - interval '1 second'")
    time.sleep(0.01)
    again = user.post(GENERATE, json={}, headers=key)
    assert again.status_code == 201 and 'Idempotent-Replayed' not in again.headers
    assert keys_of(user) == 3
