"""What goes wrong is said in the dialect, by its code, and gives nothing away: C-18, C-19, ERR-1, OBS-1."""
import re
import socket

import pytest

from pixshift import dump, photo

UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}')
LOGINS = ['/api/auth/login', '/api/v1/auth/login']


def test_envelope_of_the_pixshift_dialect(user):
    """C-18, ERR-1."""
    reply = user.get('/api/transformations/00000000-0000-7000-8000-000000000000')
    body = reply.json()
    assert reply.status_code == 404
    assert set(body) == {'success', 'error'} and body['success'] is False
    assert set(body['error']) == {'code', 'message', 'category', 'details', 'requestId'}
    assert body['error']['code'] == 'NOT_FOUND' and body['error']['category'] == 'VALIDATION'
    assert body['error']['requestId'] == reply.headers['X-Request-Id']


def test_envelope_of_the_trailroom_dialect(user):
    """C-18."""
    reply = user.get('/api/v1/tryon/00000000-0000-7000-8000-000000000000')
    body = reply.json()
    assert reply.status_code == 404
    assert set(body) == {'error', 'detail'} and body['detail'] == body['error']['message']
    assert set(body['error']) == {'code', 'message', 'category', 'details', 'request_id'}
    assert body['error']['request_id'] == reply.headers['X-Request-Id']


def test_unknown_fields_are_named(server):
    reply = server.anonymous().post('/api/v1/auth/register', json={
        'email': 'a@example.org', 'password': 'x' * 20, 'firstName': 'Ada'})
    assert reply.status_code == 400 and reply.json()['error']['details']['field'] == 'firstName'
    reply = server.anonymous().post('/api/auth/register', json={
        'email': 'a@example.org', 'password': 'x' * 20, 'first_name': 'Ada'})
    assert reply.status_code == 400 and reply.json()['error']['details']['field'] == 'first_name', \
        "C-2: the dialect's spelling only"
    assert 'first_name' in reply.json()['error']['message']


def test_missing_fields_are_named_as_the_client_spells_them(user):
    camel = user.post('/api/transformations', json={'imageUrl': 'x'}).json()['error']
    assert camel['details']['field'] == 'transformationTypeId' and 'transformationTypeId' in camel['message']
    snake = user.post('/api/v1/tryon', json={}).json()['error']
    assert snake['details']['field'] == 'user_image'


def test_unknown_query_names(user):
    reply = user.get('/api/v1/credits/transactions?pages=2')
    assert reply.status_code == 400 and reply.json()['error']['details']['field'] == 'pages'
    for query in ('page=0', 'page=x', 'limit=101', 'limit=0', 'page=1&page=2', 'type=theft', 'date_from=yesterday'):
        assert user.get(f'/api/v1/credits/transactions?{query}').status_code == 400, query


def test_unknown_routes(server, user):
    for path, key in (('/api/nothing', 'requestId'), ('/api/v1/nothing', 'request_id'),
                      ('/api/auth/login/more', 'requestId'), ('/api', 'requestId'), ('/api/v1', 'requestId'),
                      ('/api/v1/credits/', 'request_id')):
        reply = server.anonymous().get(path)
        assert reply.status_code == 404 and reply.json()['error']['code'] == 'NOT_FOUND', dump(reply)
        assert reply.json()['error'][key]


@pytest.mark.parametrize('method, path, allow', [
    ('DELETE', '/api/v1/credits', {'GET', 'HEAD', 'OPTIONS'}), ('GET', '/api/v1/auth/login', {'POST', 'OPTIONS'}),
    ('PATCH', '/api/users/profile', {'GET', 'HEAD', 'PUT', 'OPTIONS'}), ('POST', '/healthz', {'GET', 'HEAD', 'OPTIONS'})])
def test_wrong_methods(server, method, path, allow):
    reply = server.anonymous().call(method, path)
    assert reply.status_code == 405, dump(reply)
    assert set(reply.headers['Allow'].replace(' ', '').split(',')) == allow
    options = server.anonymous().call('OPTIONS', path)
    assert options.status_code == 204 and set(options.headers['Allow'].replace(' ', '').split(',')) == allow


def test_head_is_get_without_a_body(server, user):
    for client, path in ((server.anonymous(), '/api/health'), (user, '/api/v1/credits')):
        reply = client.call('HEAD', path)
        assert reply.status_code == 200 and reply.content == b''
        assert reply.headers['Content-Type'].startswith('application/json')


def test_bodies_that_are_too_large(server):
    """C-19: 400 where 001 speaks, 413 elsewhere."""
    big = {'email': 'a@example.org', 'password': 'x' * 70000}
    first, second = (server.anonymous().post(path, json=big) for path in LOGINS)
    assert first.status_code == 400 and first.json()['error']['code'] == 'FILE_TOO_LARGE', dump(first)
    assert second.status_code == 413 and second.json()['error']['code'] == 'INVALID_REQUEST', dump(second)
    assert first.json()['error']['details']['limitBytes'] == second.json()['error']['details']['limit_bytes'] == 65536


def test_large_chunked_bodies_are_cut_off(server):
    def pieces():
        yield b'{"email":"a@example.org","password":"'
        for _ in range(80):
            yield b'x' * 1024
        yield b'"}'
    reply = server.anonymous().post('/api/v1/auth/login', data=pieces(),
                                    headers={'Content-Type': 'application/json'})
    assert reply.status_code == 413, dump(reply)


def test_files_that_are_too_large(server, user):
    """C-19, TRF-1."""
    huge = photo(120, 120) + b'\0' * (10 * 1024 * 1024)
    reply = user.upload(huge)
    assert reply.status_code == 400 and reply.json()['error']['code'] == 'FILE_TOO_LARGE', dump(reply)
    files = {name: (f'{name}.png', huge, 'image/png') for name in ('user_image',)}
    files['top_image'] = ('top.png', photo(120, 120), 'image/png')
    reply = user.post('/api/v1/tryon', files=files, data={'mode': 'top'})
    assert reply.status_code == 413 and reply.json()['error']['code'] == 'IMAGE_TOO_LARGE', dump(reply)


MALFORMED = [b'{', b'{"email":"a@b.cd",}', b'{"email":"a","email":"b"}', b'[]', b'"x"', b'null', b'{"email":tru}',
             b'{"email":"\xff"}', b'\xef\xbb\xbf{}', b'{"a":' * 200 + b'1' + b'}' * 200, b"{'email':1}", b'{"email":01}',
             b'{"email":"\\ud800"}', b'{"email":"a\\u0000b","password":"x"}', b'{} {}']


@pytest.mark.parametrize('text', MALFORMED)
def test_malformed_json(server, text):
    for path in LOGINS:
        reply = server.anonymous().post(path, data=text, headers={'Content-Type': 'application/json'})
        assert reply.status_code == 400, (text, dump(reply))
        assert reply.json()['error']['code'] in ('VALIDATION_ERROR', 'INVALID_REQUEST')


def test_wrong_types_of_bodies(server, user):
    for kind in ('text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'multipart/form-data; boundary=x'):
        reply = server.anonymous().post('/api/v1/auth/login', data=b'{}', headers={'Content-Type': kind})
        assert reply.status_code == 415, (kind, dump(reply))
    assert user.post('/api/transformations/upload', json={'image': 'x'}).status_code == 415
    fine = server.anonymous().post('/api/v1/auth/login', data=b'{"email":"a@example.org","password":"x"}',
                                   headers={'Content-Type': 'application/json; charset=utf-8'})
    assert fine.status_code == 401


@pytest.mark.parametrize('value, kept', [('abc-123_X.y', True), ('a' * 128, True), ('a' * 129, False),
                                         ('with space', False), ('semi;colon', False), ('<script>', False)])
def test_request_ids(server, value, kept):
    """OBS-1."""
    reply = server.anonymous().get('/api/v1/nothing', headers={'X-Request-Id': value})
    shown = reply.headers['X-Request-Id']
    assert (shown == value) == kept
    assert kept or UUID.fullmatch(shown)
    assert reply.json()['error']['request_id'] == shown


def test_every_reply_has_its_headers(server, user):
    """DEP-6."""
    for reply in (user.get('/api/v1/credits'), server.anonymous().get('/api/nothing'),
                  server.anonymous().get('/api/health'), server.anonymous().call('DELETE', '/api/v1/credits')):
        assert reply.headers['X-Content-Type-Options'] == 'nosniff'
        assert "default-src 'none'" in reply.headers['Content-Security-Policy']
        assert reply.headers['Cache-Control'] == 'no-store'
        assert reply.headers['X-Request-Id']


def test_no_private_detail(server, user):
    """ERR-6: the cause is in the log, not in the reply."""
    for path in ("/api/transformations/'%20OR%201=1", '/api/v1/tryon/%25s%25n', '/api/files/..%5c..%5cetc'):
        reply = user.get(path)
        assert reply.status_code in (400, 403, 404), dump(reply)
        assert not re.search(r'SELECT|pixshift\.|\.c:|/tmp/|PGRES', reply.text)
    for path in ('/api/transformations/%00', '/api/transformations/..%2f..'):       # httpd's own refusal
        reply = user.session.get(server.url + path, headers=user.headers, timeout=10)
        assert reply.status_code in (400, 404, 405), dump(reply)
        assert not re.search(r'SELECT|pixshift\.|\.c:|/tmp/|PGRES', reply.text)


def test_raw_nonsense(server):
    """D-8: whatever comes, a status of its kind and no 5xx."""
    for text in (b'GET /api/v1/credits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n',
                 b'POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
                 b'Content-Length: -5\r\n\r\n{}',
                 b'GET /api/v1/credits?%zz=1 HTTP/1.1\r\nHost: x\r\n\r\n',
                 b'GET /api/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n'):
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(text)
            sock.shutdown(socket.SHUT_WR)
            first = sock.makefile('rb').readline()
        assert re.match(rb'HTTP/1\.1 4\d\d ', first), (text, first)


def test_credentials_do_not_reach_the_log(server, user):
    secrets = [user.info['access_token'], user.info['refresh_token'], user.info['api_key']]
    user.get('/api/v1/credits')
    user.with_key().get('/api/v1/credits')
    server.anonymous().post('/api/v1/auth/refresh', json={'refresh_token': user.info['refresh_token']})
    server.anonymous().get('/api/v1/credits', headers={'x-api-key': user.info['api_key'][:-1] + '!'})
    text = server.log() + (server.dir / 'log/access.log').read_text()
    assert not [s for s in secrets if s in text or s[:-1] in text]
