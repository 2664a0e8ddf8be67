"""API keys: KEY-1 … KEY-6, C-39, C-40."""
import hashlib
import re

import psycopg2
import pytest

from pixshift import Client, dump, wait_for

KEY = re.compile(r'psk_(live|test)_[0-9A-Za-z]{30}[0-9A-Za-z]{6}')
DEFAULT_SCOPES = ['jobs:write', 'jobs:read', 'credits:read']


def make(user, **body):
    reply = user.post('/api/v1/api-keys/generate', json=body)
    assert reply.status_code == 201, dump(reply)
    return reply.json()


def with_key(server, key):
    return Client(server, {'x-api-key': key})


def test_generate(server, user):
    """KEY-1."""
    made = make(user, name='laptop')
    assert set(made) == {'api_key', 'key_id', 'name'} and made['name'] == 'laptop'
    assert KEY.fullmatch(made['api_key']) and made['api_key'].startswith('psk_live_')
    assert make(user)['name'] == 'Default API Key'
    assert make(user, test_mode=True)['api_key'].startswith('psk_test_')
    assert with_key(server, made['api_key']).get('/api/v1/credits').status_code == 200


def test_list_shows_prefixes_only(user):
    """KEY-2, C-39."""
    made = [make(user, name=f'key {i}') for i in range(3)]
    reply = user.get('/api/v1/api-keys')
    keys = {key['id']: key for key in reply.json()['keys']}
    assert len(keys) == 4 == reply.json()['total'], 'three and the one of the registration (KEY-6)'
    assert user.info['key_id'] in keys
    for one in made:
        row = keys[one['key_id']]
        assert {'id', 'name', 'prefix', 'created_at'} <= set(row)
        assert row['prefix'] == one['api_key'][:len('psk_live_') + 8]
        assert row['scopes'] == DEFAULT_SCOPES
        assert one['api_key'] not in reply.text, 'shown once'
    assert len({row['prefix'] for row in keys.values()}) == 4, 'prefixes tell keys apart'


def test_only_the_hash_is_stored(server, user):
    """KEY-4."""
    made = make(user)
    row = server.sql("SELECT encode(key_hash, 'hex'), is_active, expires_at, to_jsonb(k)::text"
                     " FROM pixshift.api_keys k WHERE id = %s", (made['key_id'],))[0]
    assert row[0] == hashlib.sha256(made['api_key'].encode()).hexdigest()
    assert row[1] is True and row[2] is None
    assert made['api_key'][20:] not in row[3]


def test_use_is_noted(server, user):
    """KEY-4: last_used, usage_count."""
    made = make(user)
    client = with_key(server, made['api_key'])
    assert client.get('/api/v1/credits').status_code == 200
    row = lambda: next(k for k in user.get('/api/v1/api-keys').json()['keys'] if k['id'] == made['key_id'])
    wait_for(lambda: row()['last_used'], 10, what='last_used')
    assert row()['usage_count'] >= 1


def test_both_headers(server, user):
    """KEY-5: x-api-key, and the same key as a bearer."""
    key = user.info['api_key']
    assert with_key(server, key).get('/api/v1/credits').status_code == 200
    assert Client(server, {'Authorization': f'Bearer {key}'}).get('/api/v1/credits').status_code == 200


@pytest.mark.parametrize('method, path', [
    ('GET', '/api/v1/tryon/history'), ('DELETE', '/api/v1/tryon/00000000-0000-7000-8000-000000000000'),
    ('GET', '/api/v1/api-keys'), ('POST', '/api/v1/api-keys/generate'), ('GET', '/api/users/profile'),
    ('PUT', '/api/users/profile'), ('POST', '/api/billing/pricing-tier'), ('GET', '/api/v1/auth/me'),
    ('POST', '/api/v1/auth/logout'), ('GET', '/api/auth/session')])
def test_keys_are_refused_on_personal_routes(user, method, path):
    """KEY-5."""
    reply = user.with_key().call(method, path, json={} if method in ('POST', 'PUT') else None)
    assert reply.status_code == 403, dump(reply)
    assert reply.json()['error']['code'] in ('AUTH_FORBIDDEN', 'AUTH_UNAUTHORIZED')


def test_seed_routes_take_keys(user):
    """KEY-5, C-40: the three routes of try-ons (404 is behind the guard) and the balance."""
    key = user.with_key()
    nobody = '00000000-0000-7000-8000-000000000000'
    assert key.get(f'/api/v1/tryon/{nobody}').status_code == 404
    assert key.get(f'/api/v1/tryon/{nobody}/base64').status_code == 404
    assert key.post('/api/v1/tryon', json={}).status_code == 400
    assert key.get('/api/v1/credits').status_code == 200
    assert key.get('/api/v1/credits/transactions').status_code == 200


def test_scopes_limit_a_key(server, user):
    """C-40."""
    made = make(user)
    server.sql("UPDATE pixshift.api_keys SET scopes = '{credits:read}' WHERE id = %s", (made['key_id'],))
    key = with_key(server, made['api_key'])
    assert key.get('/api/v1/credits').status_code == 200
    refused = key.get('/api/v1/jobs')
    assert refused.status_code == 403 and refused.json()['error']['details']['scope'] == 'jobs:read'
    refused = key.post('/api/v1/generate', json={'prompt': 'a red house'})
    assert refused.status_code == 403 and refused.json()['error']['details']['scope'] == 'jobs:write'


def test_delete_works_at_once(server, user):
    """KEY-3."""
    made = make(user)
    key = with_key(server, made['api_key'])
    for _ in range(4):
        assert key.get('/api/v1/credits').status_code == 200      # in every child's cache
    assert user.delete(f"/api/v1/api-keys/{made['key_id']}").status_code == 200
    for _ in range(6):
        assert key.get('/api/v1/credits').status_code == 401
    assert made['key_id'] not in user.get('/api/v1/api-keys').text
    assert user.delete(f"/api/v1/api-keys/{made['key_id']}").status_code == 404


def test_regenerate_voids_the_old_text(server, user):
    """KEY-3."""
    made = make(user, name='ci')
    old = with_key(server, made['api_key'])
    assert old.get('/api/v1/credits').status_code == 200
    again = user.post(f"/api/v1/api-keys/{made['key_id']}/regenerate")
    assert again.status_code == 200 and again.json()['key_id'] == made['key_id']
    assert again.json()['api_key'] != made['api_key'] and KEY.fullmatch(again.json()['api_key'])
    for _ in range(6):
        assert old.get('/api/v1/credits').status_code == 401
    assert with_key(server, again.json()['api_key']).get('/api/v1/credits').status_code == 200


def test_foreign_keys_do_not_exist(server, user):
    other = server.sign_up()
    for method, tail in (('DELETE', ''), ('POST', '/regenerate')):
        for key_id in (other.info['key_id'], 'nonsense'):
            assert user.call(method, f'/api/v1/api-keys/{key_id}{tail}').status_code == 404
    assert other.with_key().get('/api/v1/credits').status_code == 200


def test_broken_keys_are_refused_without_a_look(server, user):
    """A wrong checksum needs no database: it is refused while nobody can read the table."""
    key = user.info['api_key']
    swapped = key[:-1] + ('A' if key[-1] != 'A' else 'B')
    with psycopg2.connect(server.dsn) as blocker, blocker.cursor() as cursor:
        cursor.execute('LOCK TABLE pixshift.api_keys IN ACCESS EXCLUSIVE MODE')
        for broken in (swapped, key[:-1], key + 'A', key.replace('live', 'test'), 'psk_live_', 'x', key.lower()):
            reply = with_key(server, broken).get('/api/v1/credits', timeout=3)
            assert reply.status_code == 401, (broken, dump(reply))
            assert reply.json()['error']['code'] == 'AUTH_INVALID_CREDENTIALS'
        blocker.rollback()


def test_expired_key(server, user):
    """KEY-4: expires_at."""
    made = make(user)
    server.sql("UPDATE pixshift.api_keys SET expires_at = pixshift.now() - interval '1 second' WHERE id = %s",
               (made['key_id'],))
    reply = with_key(server, made['api_key']).get('/api/v1/credits')
    assert reply.status_code == 401 and reply.json()['error']['code'] == 'AUTH_TOKEN_EXPIRED'


@pytest.mark.parametrize('name', ['', 'x' * 101, 7, None])
def test_names(user, name):
    reply = user.post('/api/v1/api-keys/generate', json={'name': name})
    assert reply.status_code == (201 if name is None else 400), dump(reply)
