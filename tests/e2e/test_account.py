"""Accounts over HTTP: one test per rule (C-n, AUTH, KEY, USER), the limits of RELIABILITY §2."""
import json
import re
import uuid

import pytest
import requests

from pixshift import PASSWORD, Client, Server, in_parallel


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp('account')) as running:
        yield running


def address():
    return f'u{uuid.uuid4().hex[:12]}@example.org'


def login(server, path, email, password=PASSWORD, **kwargs):
    return server.anonymous().post(path, json={'email': email, 'password': password}, **kwargs)


def bearer(server, token):
    return Client(server, {'Authorization': 'Bearer ' + token})


def browser(server, email):
    """A cookie session: (client, csrf token)."""
    client = server.anonymous()
    reply = client.post('/api/auth/login', json={'email': email, 'password': PASSWORD})
    assert reply.status_code == 200, reply.text
    return client, reply.json()['csrfToken']


def configured(folder, was, now, **kwargs):
    """A server whose configuration has one line changed."""
    made = Server(folder, worker='off', start=False, **kwargs)
    made.prepare()
    text = made.conf.read_text()
    assert was in text
    made.conf.write_text(text.replace(was, now))
    made.start()
    return made


# ---- contradictions settled -------------------------------------------------------------------
def test_c1_own_v1_routes_win_and_free_ones_are_aliases(server):
    user = server.sign_up()
    assert user.get('/api/users/profile').json()['user']['role'] == 'GUEST'
    assert user.get('/api/v1/users/profile').status_code == 200
    assert user.post('/api/v1/auth/logout').json() == {'message': 'Logged out successfully'}


def test_c2_spelling(server):
    user = server.sign_up()
    assert 'firstName' in user.get('/api/auth/session').json()['user']
    assert 'first_name' in user.get('/api/v1/auth/me').json()['user']
    refused = server.anonymous().post('/api/auth/register', json={
        'email': address(), 'password': PASSWORD, 'first_name': 'x'})
    assert refused.status_code == 400 and refused.json()['error']['details']['field'] == 'first_name'


def test_c3_role_vocabularies(server):
    user, admin = server.sign_up(), server.admin()
    for word, shown in (('paid', 'paid'), ('free', 'free'), ('subscriber', 'paid'), ('ADMIN', 'admin'),
                        ('GUEST', 'paid'), ('admin', 'admin'), ('user', 'paid')):
        reply = admin.put(f'/api/v1/admin/users/{user.id}/role', json={'role': word})
        assert reply.status_code == 200 and reply.json()['user']['role'] == shown, (word, reply.text)
    reply = admin.put(f'/api/admin/users/{user.id}/role', json={'role': 'GUEST'})
    assert reply.json()['success'] is True and reply.json()['user']['role'] == 'GUEST'
    assert admin.put(f'/api/v1/admin/users/{user.id}/role', json={'role': 'king'}).status_code == 400


def test_c5_identities_are_unique(server):
    email = address()
    server.sign_up(email)
    assert server.value("SELECT kind FROM pixshift.identities WHERE subject = %s", (email,)) == 'email'
    assert login(server, '/api/auth/login', email).json()['user']['authProvider'] == 'EMAIL'
    taken = server.anonymous().post('/api/v1/auth/register', json={'email': email.upper(), 'password': PASSWORD})
    assert taken.status_code == 409 and taken.json()['error']['code'] == 'EMAIL_TAKEN'


def test_c7_one_principal_and_logout_cuts_tokens_at_once(server):
    email = address()
    server.sign_up(email)
    client, csrf = browser(server, email)
    reply = login(server, '/api/auth/login', email).json()
    opaque, token = bearer(server, reply['session']), bearer(server, reply['accessToken'])
    ids = {c.get('/api/auth/session').json()['user']['id'] for c in (client, opaque, token)}
    assert len(ids) == 1
    assert opaque.post('/api/auth/logout').json() == {'success': True}
    assert token.get('/api/v1/auth/me').status_code == 401
    assert opaque.get('/api/auth/session').status_code == 401
    assert client.get('/api/auth/session').status_code == 200         # another login
    assert client.post('/api/auth/logout', headers={'X-CSRF-Token': csrf}).status_code == 200
    assert client.get('/api/auth/session').status_code == 401


def test_c25_key_at_registration_can_be_off(tmp_path):
    with Server(tmp_path / 's', extra='PixShiftKeyAtRegistration Off', worker='off') as other:
        assert 'api_key' not in other.sign_up().info


def test_c27_phone_numbers(server):
    one, two = server.sign_up(), server.sign_up()
    for user in (one, two):
        assert user.put('/api/users/profile', json={'phone': '+14155550101'}).json()['success'] is True
    server.sql('UPDATE pixshift.users SET phone_verified = true WHERE id = %s', (one.id,))
    with pytest.raises(Exception, match='users_phone_verified'):
        server.sql('UPDATE pixshift.users SET phone_verified = true WHERE id = %s', (two.id,))
    one.put('/api/users/profile', json={'phone': '+14155550102'})
    assert server.value('SELECT phone_verified FROM pixshift.users WHERE id = %s', (one.id,)) is False


def test_c33_refresh_returns_both_and_reuse_ends_the_login(server):
    user = server.sign_up()
    anyone = server.anonymous()

    def refresh(token):
        return anyone.post('/api/v1/auth/refresh', json={'refresh_token': token})
    first = refresh(user.info['refresh_token'])
    assert first.status_code == 200 and {'access_token', 'refresh_token'} <= set(first.json())
    again = refresh(user.info['refresh_token'])                       # the reply was lost
    assert again.json()['refresh_token'] == first.json()['refresh_token']
    second = refresh(first.json()['refresh_token'])
    assert second.status_code == 200
    server.expect_log('PXS7010')
    assert refresh(user.info['refresh_token']).status_code == 401     # its successor was used
    assert refresh(second.json()['refresh_token']).status_code == 401
    assert bearer(server, second.json()['access_token']).get('/api/v1/auth/me').status_code == 401
    assert server.value("SELECT count(*) FROM pixshift.audit_log WHERE action = 'auth.refresh.reuse'"
                        " AND entity_id = %s", (user.id,)) == 1


def test_c39_c40_keys(server):
    user = server.sign_up()
    made = user.post('/api/v1/api-keys/generate', json={'name': 'CI'})
    assert made.status_code == 201 and set(made.json()) == {'api_key', 'key_id', 'name'}
    keys = user.get('/api/v1/api-keys').json()['keys']
    assert len({k['prefix'] for k in keys}) == 2 and all(re.fullmatch(r'psk_live_\w{8}', k['prefix']) for k in keys)
    assert keys[0]['scopes'] == ['jobs:write', 'jobs:read', 'credits:read']
    machine = Client(server, {'x-api-key': made.json()['api_key']})
    assert machine.get('/api/v1/credits').status_code == 200
    for path in ('/api/v1/auth/me', '/api/v1/api-keys', '/api/users/profile', '/api/v1/admin/users'):
        assert machine.get(path).status_code == 403, path
    assert made.json()['api_key'] not in json.dumps(user.get('/api/v1/api-keys').json())
    fresh = user.post(f"/api/v1/api-keys/{made.json()['key_id']}/regenerate").json()
    assert machine.get('/api/v1/credits').status_code == 401
    machine = Client(server, {'x-api-key': fresh['api_key']})
    assert machine.get('/api/v1/credits').status_code == 200
    assert user.delete(f"/api/v1/api-keys/{fresh['key_id']}").status_code == 200
    assert machine.get('/api/v1/credits').status_code == 401


def test_c41_users_stay(server):
    user = server.sign_up()
    with pytest.raises(Exception, match='violates foreign key'):
        server.sql('DELETE FROM pixshift.users WHERE id = %s', (user.id,))


# ---- cookies, csrf, ambiguity -------------------------------------------------------------------
def test_csrf_and_origin(server):
    email = address()
    server.sign_up(email)
    client, csrf = browser(server, email)
    body = {'json': {'firstName': 'Eve'}}
    assert client.put('/api/users/profile', **body).status_code == 403
    assert client.put('/api/users/profile', headers={'X-CSRF-Token': csrf[:-1] + '_'}, **body).status_code == 403
    foreign = {'X-CSRF-Token': csrf, 'Origin': 'https://evil.example'}
    assert client.put('/api/users/profile', headers=foreign, **body).status_code == 403
    assert client.put('/api/users/profile', headers={'X-CSRF-Token': csrf}, **body).status_code == 200
    assert client.get('/api/auth/session').json()['csrfToken'] == csrf


def test_two_credentials_are_refused(server):
    user = server.sign_up()
    key = {'x-api-key': user.info['api_key']}
    assert user.get('/api/v1/credits', headers=key).status_code == 400
    assert server.anonymous().get('/api/v1/credits', headers={**key, 'Cookie': 'ps_sid=x'}).status_code == 400


def test_secure_cookie_in_production_form(tmp_path):
    with configured(tmp_path / 's', 'PixShiftBaseURL "http://127', 'PixShiftBaseURL "https://127') as other:
        email = address()
        other.sign_up(email)
        cookie = login(other, '/api/auth/login', email).headers['Set-Cookie']
        assert cookie.startswith('__Host-ps_sid=pss_')
        assert {'Secure', 'HttpOnly', 'SameSite=Lax', 'Path=/'} <= {p.strip() for p in cookie.split(';')}


# ---- tokens -------------------------------------------------------------------------------------
def test_forged_tokens(server):
    import base64
    token = server.sign_up().info['access_token']
    head, body, mac = token.split('.')

    def b64(obj):
        return base64.urlsafe_b64encode(json.dumps(obj).encode()).rstrip(b'=').decode()
    forged = [f'{head}.{body}.', f"{b64({'alg': 'none', 'typ': 'at+jwt'})}.{body}.", f'{head}.{body}.{mac[:-2]}AA',
              f"{head}.{b64({'sub': 'x', 'sid': 'x', 'exp': 9999999999})}.{mac}", token + '.x', token[:-1],
              '..', 'a.b.c', 'pss_' + 'A' * 43, 'psk_live_' + 'a' * 36]
    for text in forged:
        assert bearer(server, text).get('/api/v1/auth/me').status_code in (401, 403), text


# ---- crash matrix -------------------------------------------------------------------------------
def test_crash_19_lost_refresh_reply(tmp_path):
    with Server(tmp_path / 's', env={'PIXSHIFT_FAILPOINT': 'cm19_refresh_rotated:1:error'}, servers=1,
                worker='off') as other:
        other.expect_log('PXS7013', 'PXS1011')
        token = other.sign_up().info['refresh_token']
        replies = [other.anonymous().post('/api/v1/auth/refresh', json={'refresh_token': token}) for _ in range(2)]
        assert [r.status_code for r in replies] == [503, 200]
        assert other.value('SELECT count(*) FROM pixshift.refresh_tokens WHERE rotated_at IS NULL') == 1


def test_crash_23_adjustment_and_audit_are_one(tmp_path):
    with Server(tmp_path / 's', env={'PIXSHIFT_FAILPOINT': 'cm23_admin_adjustment:1:error'}, servers=1,
                worker='off') as other:
        other.expect_log('PXS7100', 'PXS1011')
        user, admin = other.sign_up(), other.admin()

        def give():
            return admin.post(f'/api/v1/admin/users/{user.id}/credits', json={'amount': 4, 'reason': 'x'},
                              headers={'Idempotency-Key': 'one'})
        assert give().status_code == 503
        assert user.get('/api/v1/credits').json()['credits'] == 0
        assert [give().status_code for _ in range(2)] == [200, 200]
        assert user.get('/api/v1/credits').json()['credits'] == 4
        assert other.value("SELECT count(*) FROM pixshift.audit_log WHERE action = 'user.credits.add'") == 1


# ---- limits -------------------------------------------------------------------------------------
def test_failed_logins_say_nothing_and_slow_down(tmp_path):
    with Server(tmp_path / 's', worker='off') as other:
        other.expect_log('PXS7011', 'PXS7012')
        email = address()
        other.sign_up(email)
        known = [login(other, '/api/v1/auth/login', email, 'wrong password') for _ in range(11)]
        nobody = [login(other, '/api/v1/auth/login', address(), 'wrong password') for _ in range(3)]
        assert [r.status_code for r in known] == [401] * 10 + [429]
        assert int(known[-1].headers['Retry-After']) >= 25

        def gist(reply):
            body = reply.json()
            body['error'].pop('request_id')
            return body
        assert gist(known[0]) == gist(nobody[0])
        for _ in range(20):
            last = login(other, '/api/v1/auth/login', address(), 'wrong password')
        assert last.status_code == 429


def test_many_logins_at_once_do_not_exhaust_the_server(tmp_path):
    with configured(tmp_path / 's', 'PixShiftPasswordCost 4', 'PixShiftPasswordCost 11', servers=1,
                    threads=64) as other:
        other.expect_log('PXS1020')
        email = address()
        other.sign_up(email)
        codes = [r if isinstance(r, Exception) else r.status_code for r in in_parallel(
            60, lambda i: requests.post(other.url + '/api/v1/auth/login', timeout=60,
                                        json={'email': email, 'password': PASSWORD}))]
        assert set(codes) <= {200, 503} and codes.count(200) >= 20, codes
        assert other.sign_up().get('/api/v1/auth/me').status_code == 200
