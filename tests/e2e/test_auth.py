"""Accounts and sessions over HTTP: AUTH-6 … AUTH-13, C-7, C-8, C-33, CSRF, suspension."""
import base64
import hashlib
import hmac
import json
import uuid

import pytest

from pixshift import PASSWORD, Client, dump

V1_USER = {'id', 'email', 'role', 'credits', 'daily_free_credits', 'first_name', 'last_name'}
TRIPLE = {'user', 'access_token', 'refresh_token'}


def address():
    return f'u{uuid.uuid4().hex[:12]}@example.org'


def bearer(server, token, **headers):
    return Client(server, {'Authorization': f'Bearer {token}', **headers})


def browser(server, email, password=PASSWORD):
    """A client with a cookie session; .csrf is its anti-forgery token."""
    client = server.anonymous()
    reply = client.post('/api/auth/login', json={'email': email, 'password': password})
    assert reply.status_code == 200, dump(reply)
    client.info, client.csrf = reply.json(), reply.json()['csrfToken']
    return client


def works(client):
    return client.get('/api/v1/auth/me').status_code == 200


# ---- register and login

def test_register_answers_201_with_the_triple_and_a_key(server):
    """AUTH-8, KEY-6, C-25."""
    email = address()
    reply = server.anonymous().post('/api/v1/auth/register', json={
        'email': email, 'password': PASSWORD, 'first_name': 'Ada', 'last_name': 'Lovelace'})
    assert reply.status_code == 201, dump(reply)
    made = reply.json()
    assert TRIPLE | {'api_key', 'key_id'} <= set(made)
    assert V1_USER <= set(made['user'])
    assert made['user']['email'] == email and made['user']['role'] == 'free'
    assert made['user']['first_name'] == 'Ada' and made['user']['last_name'] == 'Lovelace'
    assert made['user']['daily_free_credits'] == 3
    assert made['user']['is_email_verified'] is False
    assert reply.headers['Cache-Control'] == 'no-store'
    assert 'Set-Cookie' not in reply.headers
    assert works(bearer(server, made['access_token']))
    keys = bearer(server, made['access_token']).get('/api/v1/api-keys')
    assert made['api_key'] not in keys.text, 'the key is shown once'


def test_register_without_names(server):
    reply = server.anonymous().post('/api/v1/auth/register', json={'email': address(), 'password': PASSWORD})
    assert reply.status_code == 201 and reply.json()['user']['first_name'] is None


def test_an_address_registers_once_whatever_its_case(server):
    email = address()
    client = server.anonymous()
    assert client.post('/api/v1/auth/register', json={'email': email, 'password': PASSWORD}).status_code == 201
    again = client.post('/api/v1/auth/register', json={'email': email.upper(), 'password': PASSWORD})
    assert again.status_code == 409 and again.json()['error']['code'] == 'EMAIL_TAKEN'
    pixshift = server.anonymous().post('/api/auth/register', json={'email': email, 'password': PASSWORD})
    assert pixshift.status_code == 409 and pixshift.json()['error']['code'] == 'VALIDATION_ERROR'


@pytest.mark.parametrize('password', ['short', 'password', 'aaaaaaaaaaaa', '12345678', 'qwertyuiop', 'x' * 1025])
def test_weak_passwords_are_refused(server, password):
    reply = server.anonymous().post('/api/v1/auth/register', json={'email': address(), 'password': password})
    assert reply.status_code == 400, dump(reply)
    assert reply.json()['error']['details']['field'] == 'password'


def test_the_address_is_no_password(server):
    email = address()
    reply = server.anonymous().post('/api/v1/auth/register', json={'email': email, 'password': email})
    assert reply.status_code == 400 and reply.json()['error']['details']['field'] == 'password'


@pytest.mark.parametrize('email', ['plain', 'a@b', '@example.org', 'a b@example.org', 'a@-example.org'])
def test_wrong_addresses_are_refused(server, email):
    reply = server.anonymous().post('/api/v1/auth/register', json={'email': email, 'password': PASSWORD})
    assert reply.status_code == 400 and reply.json()['error']['details']['field'] == 'email'


def test_long_passwords_count_to_the_last_character(server):
    """bcrypt alone reads 72 bytes."""
    email, long = address(), 'ein langes Wort ' * 8
    assert server.anonymous().post('/api/v1/auth/register',
                                   json={'email': email, 'password': long + 'a'}).status_code == 201
    wrong = server.anonymous().post('/api/v1/auth/login', json={'email': email, 'password': long + 'b'})
    assert wrong.status_code == 401


def test_login_answers_the_triple(server, user):
    """AUTH-9: the register key is not shown again."""
    reply = server.anonymous().post('/api/v1/auth/login', json={
        'email': user.info['user']['email'].upper(), 'password': PASSWORD})
    assert reply.status_code == 200
    assert TRIPLE <= set(reply.json()) and 'api_key' not in reply.json()
    assert reply.json()['user']['id'] == user.id


@pytest.mark.parametrize('path', ['/api/v1/auth/login', '/api/auth/login'])
def test_wrong_password_and_unknown_address_look_the_same(server, user, path):
    def attempt(email):
        reply = server.anonymous().post(path, json={'email': email, 'password': 'not the password'})
        body = reply.json()
        body['error'].pop('request_id', None)
        body['error'].pop('requestId', None)
        return reply.status_code, body
    wrong, unknown = attempt(user.info['user']['email']), attempt(address())
    assert wrong == unknown and wrong[0] == 401


def test_ten_wrong_passwords_slow_the_name_down(server, user):
    """AUTH-17, C-42: whether the account exists or not, and also for the right password."""
    for email in (user.info['user']['email'], address()):
        for _ in range(10):
            assert server.anonymous().post('/api/v1/auth/login', json={
                'email': email, 'password': 'wrong'}).status_code == 401
        reply = server.anonymous().post('/api/v1/auth/login', json={'email': email, 'password': PASSWORD})
        assert reply.status_code == 429, dump(reply)
        assert 1 <= int(reply.headers['Retry-After']) <= 30
        # The address's own limit must not hit the next name of this test, nor other tests.
        server.sql("DELETE FROM pixshift.login_failures")


# ---- me, session, profile

def test_me_and_session_shapes(server, user):
    """AUTH-7."""
    me = user.get('/api/v1/auth/me').json()
    assert set(me) == {'user'} and V1_USER <= set(me['user'])
    session = user.get('/api/auth/session').json()
    assert {'id', 'email', 'role', 'freeTierUsed'} <= set(session['user'])
    assert session['user']['role'] == 'GUEST' and session['user']['freeTierUsed'] == 0
    assert session['user']['authProvider'] == 'EMAIL'
    assert 'csrfToken' not in session, 'bearers need none'
    assert user.get('/api/v1/auth/session').json() == session, 'C-1: the alias keeps its spelling'


def test_profile(server, user):
    """USER-1, USER-2, C-27."""
    profile = user.get('/api/users/profile').json()
    assert {'id', 'email', 'phone', 'role', 'freeTierUsed', 'pricingTier'} <= set(profile['user'])
    assert profile['stats'] == {'totalTransformations': 0, 'totalSpent': 0}
    changed = user.put('/api/users/profile', json={'phone': '+14155552671'})
    assert changed.status_code == 200 and changed.json()['success'] is True
    assert changed.json()['user']['phone'] == '+14155552671'
    wrong = user.put('/api/users/profile', json={'phone': '0123456789'})
    assert wrong.status_code == 400 and wrong.json()['error']['details']['field'] == 'phone'
    other = server.sign_up()
    assert other.put('/api/users/profile', json={'phone': '+14155552671'}).status_code == 200, \
        'only verified numbers are unique'


# ---- sessions of browsers

def test_cookie_session(server, user):
    """AUTH-5, AUTH-14: the cookie and the opaque token are one session."""
    client = server.anonymous()
    reply = client.post('/api/auth/login', json={'email': user.info['user']['email'], 'password': PASSWORD})
    cookie = reply.headers['Set-Cookie']
    assert 'HttpOnly' in cookie and 'SameSite=Lax' in cookie and 'Path=/' in cookie
    assert reply.json()['success'] is True and reply.json()['session'] in cookie
    session = client.get('/api/auth/session').json()
    assert session['user']['id'] == user.id
    assert session['csrfToken'] == reply.json()['csrfToken']
    assert works(bearer(server, reply.json()['session'])), 'the same secret as an opaque bearer'


def test_cookie_writes_need_the_anti_forgery_token(server, user):
    """AUTH-15."""
    client = browser(server, user.info['user']['email'])
    write = lambda **headers: client.put('/api/users/profile', json={'firstName': 'Eve'},
                                         headers=headers)
    for headers in ({}, {'X-CSRF-Token': 'wrong'}, {'X-CSRF-Token': ''}):
        reply = write(**headers)
        assert reply.status_code == 403, dump(reply)
        assert reply.json()['error']['code'] == 'AUTH_FORBIDDEN'
    assert write(**{'X-CSRF-Token': client.csrf, 'Origin': 'https://evil.example'}).status_code == 403
    assert write(**{'X-CSRF-Token': client.csrf, 'Sec-Fetch-Site': 'cross-site'}).status_code == 403
    assert client.get('/api/users/profile').json()['user']['firstName'] == 'Test'
    assert write(**{'X-CSRF-Token': client.csrf, 'Origin': server.url}).status_code == 200
    assert user.put('/api/users/profile', json={'lastName': 'B'}).status_code == 200, 'bearers need none'


def test_another_sessions_token_is_no_token(server, user):
    first, second = (browser(server, user.info['user']['email']) for _ in range(2))
    assert first.csrf != second.csrf
    assert first.put('/api/users/profile', json={'firstName': 'E'},
                     headers={'X-CSRF-Token': second.csrf}).status_code == 403


def test_two_credentials_are_refused(server, user):
    client = browser(server, user.info['user']['email'])
    both = client.get('/api/auth/session', headers=user.headers)
    assert both.status_code == 400 and both.json()['error']['code'] == 'VALIDATION_ERROR'
    third = user.get('/api/v1/credits', headers={'x-api-key': user.info['api_key']})
    assert third.status_code == 400 and third.json()['error']['code'] == 'INVALID_REQUEST'


# ---- logout

@pytest.mark.parametrize('path, body', [('/api/auth/logout', {'success': True}),
                                        ('/api/v1/auth/logout', {'message': 'Logged out successfully'})])
def test_logout_cuts_the_jwt_at_once(server, user, path, body):
    """AUTH-6, C-7, C-8."""
    token, refresh = user.info['access_token'], user.info['refresh_token']
    assert works(user)
    reply = user.post(path)
    assert reply.status_code == 200 and reply.json() == body
    for _ in range(8):          # whichever child answers
        again = bearer(server, token).get('/api/v1/auth/me')
        assert again.status_code == 401, dump(again)
    assert server.anonymous().post('/api/v1/auth/refresh',
                                   json={'refresh_token': refresh}).status_code == 401
    assert server.anonymous().post(path).status_code == 401


def test_logout_clears_the_cookie_and_spares_other_sessions(server, user):
    client, other = (browser(server, user.info['user']['email']) for _ in range(2))
    secret = client.info['session']
    assert client.post('/api/auth/logout', headers={'X-CSRF-Token': 'no'}).status_code == 403
    reply = client.post('/api/auth/logout', headers={'X-CSRF-Token': client.csrf})
    assert reply.status_code == 200 and 'Max-Age=0' in reply.headers['Set-Cookie']
    assert bearer(server, secret).get('/api/v1/auth/me').status_code == 401
    assert bearer(server, client.info['accessToken']).get('/api/v1/auth/me').status_code == 401
    assert other.get('/api/auth/session').status_code == 200
    assert works(user)


# ---- refresh

def refresh(server, token, agent='tests/1', path='/api/v1/auth/refresh'):
    name = 'refresh_token' if '/v1/' in path else 'refreshToken'
    return server.anonymous().post(path, json={name: token}, headers={'User-Agent': agent})


def login(server, user, agent='tests/1'):
    reply = server.anonymous().post('/api/v1/auth/login', headers={'User-Agent': agent}, json={
        'email': user.info['user']['email'], 'password': PASSWORD})
    return reply.json()


def test_refresh_returns_both_tokens(server, user):
    """AUTH-11, C-33."""
    first = login(server, user)
    reply = refresh(server, first['refresh_token'])
    assert reply.status_code == 200
    assert {'access_token', 'refresh_token'} <= set(reply.json())
    assert reply.json()['refresh_token'] != first['refresh_token']
    assert works(bearer(server, reply.json()['access_token']))
    camel = refresh(server, reply.json()['refresh_token'], path='/api/auth/refresh').json()
    assert camel['success'] is True and {'accessToken', 'refreshToken'} <= set(camel)


def test_a_lost_reply_may_be_asked_for_again(server, user):
    first = login(server, user)
    once, again = (refresh(server, first['refresh_token']) for _ in range(2))
    assert once.status_code == again.status_code == 200
    assert once.json()['refresh_token'] == again.json()['refresh_token']
    assert refresh(server, once.json()['refresh_token']).status_code == 200


def test_reuse_by_somebody_else_ends_the_login(server, user):
    server.expect_log('PXS7010')
    first = login(server, user)
    second = refresh(server, first['refresh_token']).json()
    stolen = refresh(server, first['refresh_token'], agent='thief/1')
    assert stolen.status_code == 401, dump(stolen)
    assert refresh(server, second['refresh_token']).status_code == 401, 'the whole family is void'
    assert not works(bearer(server, second['access_token'])), 'its JWTs too'
    assert works(user), 'other logins go on'


def test_reuse_outside_the_grace_window_ends_the_login(server, user):
    server.expect_log('PXS7010')
    first = login(server, user)
    second = refresh(server, first['refresh_token']).json()
    server.sql("UPDATE pixshift.refresh_tokens SET rotated_at = rotated_at - interval '11 seconds'"
               " WHERE rotated_at IS NOT NULL")
    assert refresh(server, first['refresh_token']).status_code == 401
    assert refresh(server, second['refresh_token']).status_code == 401


@pytest.mark.parametrize('token', ['', 'psr_', 'x' * 47, 'psr_' + 'A' * 43, 'psr_' + 'A' * 400])
def test_unknown_refresh_tokens(server, token):
    assert refresh(server, token).status_code in (400, 401)


# ---- JWT

def parts(token):
    def decoded(text):
        return json.loads(base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)))
    head, claims, signature = token.split('.')
    return decoded(head), decoded(claims), signature


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip('=')


def test_jwt_is_pinned_and_short(user):
    """AUTH-11, AUTH-13."""
    head, claims, _ = parts(user.info['access_token'])
    assert head['alg'] == 'HS256'
    assert claims['exp'] - claims['iat'] == 900 == user.info['expires_in']
    assert 'email' not in claims


@pytest.mark.parametrize('algorithm', ['none', 'None', 'NONE', 'HS384', 'HS512', 'RS256', ''])
def test_other_algorithms_are_refused(server, user, algorithm):
    head, claims, signature = parts(user.info['access_token'])
    head['alg'] = algorithm
    text = f'{encoded(head)}.{encoded(claims)}'
    for signed in ('', signature, base64.urlsafe_b64encode(
            hmac.new(b'', text.encode(), hashlib.sha256).digest()).decode().rstrip('=')):
        reply = bearer(server, f'{text}.{signed}').get('/api/v1/auth/me')
        assert reply.status_code == 401, dump(reply)
        assert reply.headers['WWW-Authenticate'].startswith('Bearer')


def test_changed_jwts_are_refused(server, user):
    other = server.sign_up()
    head, claims, signature = user.info['access_token'].split('.')
    theirs = other.info['access_token'].split('.')[1]
    for token in (f'{head}.{theirs}.{signature}', f'{head}.{claims}.{signature[:-2]}AA', f'{head}.{claims}.',
                  f'{head}.{claims}', f'{head}.{claims}.{signature}.', '..', 'a.b.c'):
        assert bearer(server, token).get('/api/v1/auth/me').status_code == 401, token


@pytest.mark.parametrize('value', ['Basic dXNlcjpwYXNz', 'Bearer', 'Bearer ', 'bearer', 'Bearer x y',
                                   'Bearer pss_' + 'A' * 43, 'Bearer pss_short'])
def test_odd_authorization_headers(server, value):
    reply = Client(server, {'Authorization': value}).get('/api/v1/auth/me')
    assert reply.status_code == 401, dump(reply)


def test_no_credential_is_asked_for_one(server):
    reply = server.anonymous().get('/api/v1/auth/me')
    assert reply.status_code == 401 and reply.json()['error']['code'] == 'AUTH_REQUIRED'
    assert server.anonymous().get('/api/auth/session').json()['error']['category'] == 'AUTHENTICATION'


# ---- suspension, roles

def test_suspension_works_at_once(server, user):
    """USER-8, ADM-6."""
    admin = server.admin()
    key = user.with_key()
    assert works(user) and key.get('/api/v1/credits').status_code == 200
    reply = admin.post(f'/api/v1/admin/users/{user.id}/suspend', json={'reason': 'test'})
    assert reply.status_code == 200 and reply.json()['user']['is_suspended'] is True
    for _ in range(6):
        assert user.get('/api/v1/auth/me').status_code in (401, 403)
        assert key.get('/api/v1/credits').status_code == 403
    attempt = server.anonymous().post('/api/v1/auth/login', json={
        'email': user.info['user']['email'], 'password': PASSWORD})
    assert attempt.status_code == 403 and attempt.json()['error']['code'] == 'AUTH_UNAUTHORIZED'
    assert admin.post(f'/api/v1/admin/users/{user.id}/unsuspend', json={}).status_code == 200
    assert server.anonymous().post('/api/v1/auth/login', json={
        'email': user.info['user']['email'], 'password': PASSWORD}).status_code == 200
    assert key.get('/api/v1/credits').status_code == 200
    assert not works(user), 'the old login stays ended'


def test_admin_routes_are_for_admins(server, user):
    """USER-6."""
    for path in ('/api/admin/stats', '/api/admin/users', '/api/v1/admin/users', '/api/admin/actions'):
        assert user.get(path).status_code == 403
        assert server.anonymous().get(path).status_code == 401
        assert user.with_key().get(path).status_code == 403
    assert server.admin().get('/api/admin/stats').json()['totalUsers'] >= 1


def test_roles_in_three_vocabularies(server, user):
    """C-3: any word is taken; free, paid and subscriber set the entitlement."""
    admin = server.admin()
    for word, v1, pixshift, entitlement in (('paid', 'paid', 'GUEST', 'paid'), ('GUEST', 'paid', 'GUEST', 'paid'),
                                            ('subscriber', 'paid', 'GUEST', 'subscriber'),
                                            ('free', 'free', 'GUEST', 'free'), ('ADMIN', 'admin', 'ADMIN', 'free'),
                                            ('user', 'free', 'GUEST', 'free')):
        reply = admin.put(f'/api/v1/admin/users/{user.id}/role', json={'role': word})
        assert reply.status_code == 200, dump(reply)
        assert reply.json()['user']['role'] == v1
        shown = admin.get(f'/api/admin/users/{user.id}').json()['user']
        assert (shown['role'], shown['entitlement']) == (pixshift, entitlement)
    assert admin.put(f'/api/admin/users/{user.id}/role', json={'role': 'king'}).status_code == 400
    actions = admin.get('/api/admin/actions?limit=100').json()['actions']
    assert any(a['entityId'] == user.id and a['action'] == 'user.role.update' for a in actions), 'logged'
