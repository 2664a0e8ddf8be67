"""Living inside httpd: AuthType PixShift in front of other content, server-status, logs, TLS, HTTP/2 and
the prefork MPM."""
import http.server
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import uuid

import pytest
import requests
from PIL import Image

from pixshift import PASSWORD, Server, apxs, free_port, photo, wait_for

FORGED = {'X-PixShift-User': 'forged', 'X-PS-User': 'forged', 'X-PIXSHIFT-Role': 'admin', 'X_PixShift_User': 'forged'}
CGI = '''#!/usr/bin/python3
import json, os
print("Content-Type: application/json\\n")
print(json.dumps({k: v for k, v in os.environ.items()}))
'''
GUARDED = '''
<Location "/any/">
    AuthType PixShift
    AuthName "the studio"
    Require pixshift-user
</Location>
<Location "/named/">
    AuthType PixShift
    Require pixshift-user ada@example.org
</Location>
<Location "/admins/">
    AuthType PixShift
    Require pixshift-role admin
</Location>
<Location "/">
    AuthzSendForbiddenOnFailure On
</Location>
<Directory "{dir}/htdocs">
    AllowOverride AuthConfig
</Directory>
<Directory "{dir}/htdocs/any/cgi">
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
ScriptSock "{socket}"
ProxyPass "/backend/" "http://127.0.0.1:{backend}/"
<Location "/backend/">
    AuthType PixShift
    Require pixshift-role admin
    RequestHeader set X-PixShift-User "%{{PIXSHIFT_USER}}e" env=PIXSHIFT_USER
    RequestHeader set X-Back-End-Role "%{{PIXSHIFT_ROLE}}e" env=PIXSHIFT_ROLE
</Location>
Protocols h2c http/1.1
Listen 127.0.0.1:{tls}
<VirtualHost 127.0.0.1:{tls}>
    SSLEngine On
    SSLCertificateFile "{dir}/conf/cert.pem"
    SSLCertificateKeyFile "{dir}/conf/key.pem"
    Protocols h2 http/1.1
</VirtualHost>
'''


def modules(*names):
    folder = apxs('LIBEXECDIR')
    return '\n'.join(f'LoadModule {name}_module "{folder}/mod_{name}.so"' for name in names)


class Echo(http.server.BaseHTTPRequestHandler):
    """A back end that answers with the request's headers."""

    def do_GET(self):
        body = json.dumps({k.lower(): v for k, v in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def fill(folder):
    """Static files, a program and a certificate."""
    for name in ('any', 'named', 'byid', 'admins'):
        (folder / 'htdocs' / name / 'cgi').mkdir(parents=True)
        (folder / 'htdocs' / name / 'page.txt').write_text(f'page of {name}')
    program = folder / 'htdocs/any/cgi/env'
    program.write_text(CGI)
    program.chmod(0o755)
    (folder / 'conf').mkdir()
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1',
                    '-keyout', folder / 'conf/key.pem', '-out', folder / 'conf/cert.pem'],
                   check=True, capture_output=True)


@pytest.fixture(scope='module')
def hosted(tmp_path_factory):
    """PixShift next to static files, a program, a proxied back end, TLS and HTTP/2."""
    folder = tmp_path_factory.mktemp('hosted')
    fill(folder)
    backend = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Echo)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    tls = free_port()
    # The path of a socket has room for about a hundred bytes.
    cgi = f'/tmp/px-cgi-{uuid.uuid4().hex[:8]}'
    extra = GUARDED.format(dir=folder, backend=backend.server_address[1], tls=tls, socket=cgi)
    try:
        with Server(folder, extra=extra, env={'PX_TEST_UNRELATED': 'a secret of the environment'}, load=modules(
                'proxy', 'proxy_http', 'headers', 'cgid', 'http2', 'socache_shmcb', 'ssl')) as running:
            running.expect_log(r'AH01873|AH01906|AH01909|AH02217')      # what mod_ssl thinks of this set-up
            running.tls = f'https://127.0.0.1:{tls}'
            yield running
    finally:
        backend.shutdown()
        for path in pathlib.Path('/tmp').glob(pathlib.Path(cgi).name + '*'):
            path.unlink()


def get(server, path, who=None, **headers):
    return requests.get(server.url + path, headers={**(who.headers if who else {}), **headers}, timeout=20)


# ---- AuthType PixShift ------------------------------------------------------------------------

def test_any_user(hosted):
    user = hosted.sign_up()
    refused = get(hosted, '/any/page.txt')
    assert refused.status_code == 401
    assert refused.headers['www-authenticate'] == 'Bearer realm="the studio"'
    assert 'page of any' not in refused.text
    assert get(hosted, '/any/page.txt', Authorization='Bearer rubbish').status_code == 401
    assert get(hosted, '/any/page.txt', Authorization='Basic dTpw').status_code == 401
    assert get(hosted, '/any/page.txt', **{'x-api-key': 'psk_live_rubbish'}).status_code == 401
    assert get(hosted, '/any/page.txt', user).text == 'page of any'


def test_every_kind_of_credential_opens(hosted):
    user = hosted.sign_up()
    key = user.post('/api/v1/api-keys', json={'name': 'hosting', 'scopes': ['jobs:read']})
    if key.status_code == 201:
        secret = next(v for v in flat(key.json()) if str(v).startswith('psk_'))
        assert get(hosted, '/any/page.txt', **{'x-api-key': secret}).status_code == 200
        assert get(hosted, '/any/page.txt', Authorization=f'Bearer {secret}').status_code == 200
    session = requests.Session()
    login = session.post(hosted.url + '/api/auth/login', timeout=10,
                         json={'email': user.info['user']['email'], 'password': PASSWORD})
    assert login.status_code == 200 and session.cookies, login.text
    assert session.get(hosted.url + '/any/page.txt', timeout=10).status_code == 200
    # two credentials at once are a mistake, not a choice
    both = session.get(hosted.url + '/any/page.txt', headers=user.headers, timeout=10)
    assert both.status_code in (400, 401)


def flat(value):
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


def test_named_users(hosted):
    ada, other = hosted.sign_up('ada@example.org'), hosted.sign_up()
    assert get(hosted, '/named/page.txt', ada).status_code == 200
    assert get(hosted, '/named/page.txt', other).status_code == 403
    assert get(hosted, '/named/page.txt').status_code == 401
    (hosted.dir / 'htdocs/byid/.htaccess').write_text(f'AuthType PixShift\nRequire pixshift-user {ada.id} nobody\n')
    assert get(hosted, '/byid/page.txt', ada).status_code == 200
    assert get(hosted, '/byid/page.txt', other).status_code == 403
    hosted.expect_log(r'AH01629|AH01630|AH01631')


def test_roles(hosted):
    assert get(hosted, '/admins/page.txt').status_code == 401
    assert get(hosted, '/admins/page.txt', hosted.sign_up()).status_code == 403
    assert get(hosted, '/admins/page.txt', hosted.admin()).text == 'page of admins'
    hosted.expect_log(r'AH01629|AH01630|AH01631')


def test_suspended_user_is_shut_out(hosted):
    user = hosted.sign_up()
    assert get(hosted, '/any/page.txt', user).status_code == 200
    hosted.sql("UPDATE pixshift.users SET is_suspended = true WHERE id = %s", [user.id])
    wait_for(lambda: get(hosted, '/any/page.txt', user).status_code == 403, 30, 0.5, 'the end of the cached login')
    hosted.expect_log('AuthType PixShift')


def test_back_end_sees_the_user_and_no_forgery(hosted):
    admin = hosted.admin()
    seen = get(hosted, '/backend/x', admin, **FORGED).json()
    assert seen['x-pixshift-user'] == admin.id and seen['x-back-end-role'] == 'admin'
    assert 'forged' not in json.dumps(seen) and 'x-ps-user' not in seen and 'x-pixshift-role' not in seen
    assert get(hosted, '/backend/x', hosted.sign_up()).status_code == 403
    assert get(hosted, '/backend/x', **FORGED).status_code == 401
    hosted.expect_log(r'AH01629|AH01630|AH01631')


def test_programs_see_the_user_and_no_forgery(hosted):
    user = hosted.sign_up()
    env = get(hosted, '/any/cgi/env', user, **FORGED).json()
    assert env['REMOTE_USER'] == env['PIXSHIFT_USER'] == user.id
    assert env['AUTH_TYPE'] == 'PixShift'
    assert env['PIXSHIFT_ROLE'] == 'user' and env['PIXSHIFT_EMAIL'] == user.info['user']['email']
    assert 'forged' not in json.dumps(env)
    assert 'HTTP_AUTHORIZATION' not in env


# ---- what the server tells ---------------------------------------------------------------------

def test_server_status(hosted):
    page = get(hosted, '/server-status').text
    assert '<h2>PixShift</h2>' in page and 'Jobs accepted:' in page
    lines = dict(line.split(': ', 1) for line in get(hosted, '/server-status?auto').text.splitlines() if ': ' in line)
    assert int(lines['PixShift-requests_total']) > 0
    assert int(lines['PixShift-streams_open']) >= 0


def make_job(user, name='Sepia', **kwargs):
    image = user.upload(photo()).json()['imageUrl']
    return user.post('/api/transformations', json={'imageUrl': image, 'transformationTypeId': user.type_id(name)},
                     **kwargs)


def test_notes_reach_the_access_log(hosted):
    user = hosted.sign_up()
    made = make_job(user, headers={'Prefer': 'wait=30', 'X-Request-Id': 'from-the-client.1'})
    job = made.json()['transformation']['id']
    wanted = f'user={user.id} job={job} id=from-the-client.1'
    assert made.headers['x-request-id'] == 'from-the-client.1'
    log = hosted.dir / 'log/access.log'
    wait_for(lambda: wanted in log.read_text(), 5, what=wanted)


def test_worker_gets_no_secret_in_argv_or_environment(hosted):
    for pid in hosted.worker_pids() + [hosted.httpd.pid]:
        text = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
        assert (hosted.dir / 'secrets/master').read_bytes().strip() not in text
    pid, = hosted.worker_pids()
    environ = pathlib.Path(f'/proc/{pid}/environ').read_bytes()
    assert b'a secret of the environment' not in environ
    assert (hosted.dir / 'secrets/master').read_bytes().strip() not in environ
    names = {pair.split(b'=')[0] for pair in environ.split(b'\0') if pair}
    assert names <= {b'PATH', b'TZ', b'LANG', b'LC_ALL', b'TMPDIR', b'LD_LIBRARY_PATH', b'LD_PRELOAD', b'ASAN_OPTIONS',
                     b'UBSAN_OPTIONS', b'TSAN_OPTIONS', b'LSAN_OPTIONS'}, names
    if os.getuid() == 0:
        assert os.stat(f'/proc/{pid}').st_uid != 0, 'the worker runs as root'


# ---- downloads ---------------------------------------------------------------------------------

def test_ranges_and_conditions_on_downloads(hosted):
    user = hosted.sign_up()
    job = make_job(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    path = f'/api/transformations/{job}/download'
    part = get(hosted, path, user, Range='bytes=10-19')
    assert part.status_code == 206 and len(part.content) == 10
    assert hosted.value('SELECT count(*) FROM pixshift.images WHERE first_downloaded_at IS NOT NULL AND key LIKE %s',
                        [f'%{job}%']) == 0, 'a part is no download'
    whole = get(hosted, path, user)
    assert whole.status_code == 200 and whole.content[10:20] == part.content
    assert part.headers['content-range'] == f'bytes 10-19/{len(whole.content)}'
    assert get(hosted, path, user, Range=f'bytes={len(whole.content)}-').status_code == 416
    tail = get(hosted, path, user, Range='bytes=-5')
    assert tail.status_code == 206 and tail.content == whole.content[-5:]
    assert whole.headers.get('etag') or whole.headers.get('last-modified')
    if whole.headers.get('etag'):
        same = get(hosted, path, user, **{'If-None-Match': whole.headers['etag']})
        assert same.status_code == 304 and not same.content
        assert get(hosted, path, user, **{'If-None-Match': '"other"'}).status_code == 200
    head = requests.head(hosted.url + path, headers=user.headers, timeout=10)
    assert head.status_code == 200 and not head.content


def test_looking_first_does_not_use_up_a_result(tmp_path):
    """Retention none: the image is delivered once, and a HEAD request is no delivery."""
    with Server(tmp_path, extra='PixShiftRetention transformation none\n') as server:
        user = server.sign_up()
        job = make_job(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
        url = f'{server.url}/api/transformations/{job}/download'
        for _ in range(2):
            head = requests.head(url, headers=user.headers, timeout=10)
            assert head.status_code == 200 and int(head.headers['content-length']) > 1000
        # nor is an attempt that the storage spoils
        mode = (server.dir / 'images').stat().st_mode
        (server.dir / 'images').chmod(0)
        try:
            assert requests.get(url, headers=user.headers, timeout=10).status_code >= 500
        finally:
            (server.dir / 'images').chmod(mode)
        assert requests.get(url, headers=user.headers, timeout=10).status_code == 200
        assert requests.get(url, headers=user.headers, timeout=10).status_code in (404, 410)
        server.expect_log(r'PXS\d{4}')


# ---- TLS and HTTP/2 ----------------------------------------------------------------------------

def curl(*args):
    """Status, HTTP version and body as curl saw them."""
    program = shutil.which('curl')
    if not program:
        pytest.skip('curl is not installed')
    done = subprocess.run([program, '-sk', '--max-time', '60', '-w', '\n%{http_code} %{http_version}', *args],
                          capture_output=True, timeout=90, check=False)
    body, _, last = done.stdout.rpartition(b'\n')
    status, version = last.decode().split()
    return int(status), version, body


def credentials(user):
    return [arg for k, v in user.headers.items() for arg in ('-H', f'{k}: {v}')]


@pytest.mark.parametrize('how', ['h2c', 'h2', 'tls'])
def test_main_job_over(hosted, how):
    """Over HTTP/2 waits and streams hold a thread; over TLS with HTTP/1.1 they are suspended."""
    option = {'h2c': '--http2-prior-knowledge', 'h2': '--http2', 'tls': '--http1.1'}[how]
    base, wanted = (hosted.url if how == 'h2c' else hosted.tls), '1.1' if how == 'tls' else '2'
    user = hosted.sign_up()
    auth = [option, *credentials(user)]
    picture = hosted.dir / f'{how}.png'
    picture.write_bytes(photo(800, 600))
    status, version, body = curl(*auth, '-F', f'image=@{picture};type=image/png', base + '/api/transformations/upload')
    assert (status, version) == (200, wanted), body
    request = json.dumps({'imageUrl': json.loads(body)['imageUrl'], 'transformationTypeId': user.type_id('Sepia')})
    create = [*auth, '-H', 'Content-Type: application/json', '-d', request, base + '/api/transformations']
    status, version, body = curl('-H', 'Prefer: wait=30', *create)
    made = json.loads(body)['transformation']
    assert (status, version, made['status']) == (200, wanted, 'COMPLETED'), body
    status, version, body = curl(*auth, f"{base}/api/transformations/{made['id']}/download")
    assert (status, version) == (200, wanted) and Image.open(io.BytesIO(body)).size == (800, 600)
    status, version, body = curl(*create)
    job = json.loads(body)['transformation']['id']
    status, version, body = curl(*auth, f'{base}/api/v1/jobs/{job}/events')
    assert (status, version) == (200, wanted) and b'event: job.succeeded' in body, body


def test_blocking_waits_are_bounded(tmp_path):
    """PixShiftBlockingWaits: beyond it a wait answers at once as if its time were up, a stream gets 503."""
    with Server(tmp_path, servers=1, limit=1, threads=32, worker='off', load=modules('http2'),
                extra='Protocols h2c http/1.1\nPixShiftBlockingWaits 1\n') as server:
        server.expect_log(r'PXS5123')
        user = server.sign_up()
        job = make_job(user).json()['transformation']['id']
        auth = ['--http2-prior-knowledge', *credentials(user)]
        events = f'{server.url}/api/v1/jobs/{job}/events'
        holder = subprocess.Popen(['curl', '-sN', *auth, events], stdout=subprocess.PIPE)
        try:
            assert b'retry:' in holder.stdout.readline()
            status, _, body = curl(*auth, events)
            assert status == 503 and b'error' in body, body
            status, _, body = curl('-H', 'Prefer: wait=20', '--max-time', '10', *auth, f'{server.url}/api/v1/jobs/{job}')
            assert status == 200 and json.loads(body), body
            # HTTP/1.1 holds no thread and is not bounded by it
            with requests.get(events, headers=user.headers, stream=True, timeout=20) as stream:
                assert stream.status_code == 200 and b'retry:' in next(stream.iter_lines())
        finally:
            holder.terminate()
            holder.wait(10)
        # the place is free again
        def again():
            done = subprocess.run(['curl', '-sN', '--max-time', '1', '-o', '/dev/null', '-w', '%{http_code}', *auth, events],
                                  capture_output=True, text=True, timeout=10, check=False)
            return done.stdout == '200'
        wait_for(again, 20, 0.3, 'a free place')
        abandoned_create_comes_back(server, user)


def abandoned_create_comes_back(server, user):
    """Whose connection broke while waiting may repeat the request at once and finds the same job."""
    body = json.dumps({'imageUrl': user.upload(photo()).json()['imageUrl'],
                       'transformationTypeId': user.type_id('Sepia')}).encode()
    head = f'POST /api/transformations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' \
           f'Authorization: {user.headers["Authorization"]}\r\nIdempotency-Key: broken-1\r\nPrefer: wait=30\r\n' \
           f'Content-Length: {len(body)}\r\n\r\n'
    jobs = server.value('SELECT count(*) FROM pixshift.jobs')
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        wait_for(lambda: server.value('SELECT count(*) FROM pixshift.jobs') > jobs, 10, what='the job')
        time.sleep(0.3)
    def repeated():
        reply = requests.post(server.url + '/api/transformations', data=body, timeout=10, headers={
            **user.headers, 'Content-Type': 'application/json', 'Idempotency-Key': 'broken-1'})
        assert reply.status_code in (200, 409), reply.text
        return reply.json()['transformation']['id'] if reply.status_code == 200 else None
    job = wait_for(repeated, 5, what='the repeated create')
    assert server.value('SELECT count(*) FROM pixshift.jobs') == jobs + 1
    assert user.get(f'/api/v1/jobs/{job}').status_code == 200


def test_prefork(tmp_path):
    """Children with one thread each: everything works through the blocking way."""
    with Server(tmp_path, mpm='prefork') as server:
        server.expect_log(r'AH00163|AH00169')
        user = server.sign_up()
        made = make_job(user, 'Poster', headers={'Prefer': 'wait=30'})
        assert made.json()['transformation']['status'] == 'COMPLETED', made.text
        job = make_job(user).json()['transformation']['id']
        reply = requests.get(f'{server.url}/api/v1/jobs/{job}/events', headers=user.headers, timeout=30)
        assert reply.status_code == 200 and 'event: job.succeeded' in reply.text
        download = user.get(f"/api/transformations/{made.json()['transformation']['id']}/download")
        assert Image.open(io.BytesIO(download.content)).size == (320, 240)
        wait_for(lambda: server.value('SELECT count(*) FROM pixshift.images WHERE first_downloaded_at IS NOT NULL') == 1,
                 10, what='the download mark')
        assert server.violations() == []
