"""A private PixShift for tests: PostgreSQL, httpd and worker in one folder on free loopback ports,
started and stopped by pid, configured like an admin would, driven over HTTP like a client would.

    with Server(folder) as server:
        user = server.sign_up()
        user.get('/api/v1/credits')

Environment: PIXSHIFT_PREFIX (installed tree with fail-points), PIXSHIFT_BUILD (its build folder)."""
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

import psycopg2
import requests

import contract
from pg import PrivatePostgres

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PREFIX = pathlib.Path(os.environ.get('PIXSHIFT_PREFIX', SOURCE / '.quickstart/test-prefix'))
WEB_USER = 'www-data' if os.getuid() == 0 else None
OPERATIONS = ['transformation', 'tryon', 'generation', 'enhancement']
PASSWORD = 'correct horse battery staple'

# Lines that any server may log in a healthy run.
HARMLESS = [
    r'AH00489|AH00094|AH00491|AH00493|AH00488|AH02282|AH00492',   # start, stop, graceful notices
    r'AH10159|AH00161|AH00485',                                   # all threads busy, as tests want it
    r'\[pixshift:(info|notice|debug)\]',
]


def apxs(name):
    return subprocess.run(['apxs', '-q', name], capture_output=True, text=True, check=True).stdout.strip()


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def wait_for(condition, timeout=15.0, every=0.05, what='the condition'):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'{what} did not come true within {timeout} s')
        time.sleep(every)


CONF = '''
ServerRoot "{dir}"
PidFile "{dir}/run/httpd.pid"
DefaultRuntimeDir "{dir}/run"
Mutex file:{dir}/run default
Listen 127.0.0.1:{port}
ServerName 127.0.0.1
{user_lines}
LoadModule mpm_{mpm}_module "{modules}/mod_mpm_{mpm}.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule authn_core_module "{modules}/mod_authn_core.so"
LoadModule authz_user_module "{modules}/mod_authz_user.so"
LoadModule reqtimeout_module "{modules}/mod_reqtimeout.so"
LoadModule mime_module "{modules}/mod_mime.so"
LoadModule env_module "{modules}/mod_env.so"
LoadModule status_module "{modules}/mod_status.so"
{load}
LoadModule pixshift_module "{prefix}/modules/mod_pixshift.so"
TypesConfig /etc/mime.types
{mpm_lines}
KeepAlive On
MaxKeepAliveRequests 0
ErrorLog "{dir}/log/error.log"
LogLevel warn pixshift:info
LogFormat "%h \\"%r\\" %>s %B user=%{{pixshift-user}}n job=%{{pixshift-job}}n id=%{{pixshift-request-id}}n" px
{access_log}
<Location "/server-status">
    SetHandler server-status
</Location>
DocumentRoot "{dir}/htdocs"
PixShift On
PixShiftMode development
PixShiftBaseURL "http://127.0.0.1:{port}"
PixShiftDatabase "{dsn}"
PixShiftSecret "file:{dir}/secrets/master"
PixShiftStateDir "{dir}/spool"
PixShiftPluginDir "{prefix}/lib/pixshift/plugins"
PixShiftWorkerProgram "{prefix}/libexec/pixshift/pixshift-worker"
PixShiftHelperProgram "{prefix}/libexec/pixshift/pixshift-helper"
PixShiftWorker {worker}
PixShiftPasswordCost 4
<PixShiftPlugin local ai_local.so>
</PixShiftPlugin>
<PixShiftPlugin disk storage_fs.so>
    Root "{dir}/images"
</PixShiftPlugin>
<PixShiftPlugin outbox message_outbox.so>
    Folder "{dir}/outbox"
</PixShiftPlugin>
PixShiftStorage disk
PixShiftMail outbox
PixShiftSMS outbox
{providers}
PixShiftRateLimit ip ip requests 100000000 1min
PixShiftRateLimit key key requests 1000000000 1h
PixShiftRateLimit user-jobs user jobs 100000 1d
PixShiftJobsPerUser 100000
{extra}
'''

MPM_LINES = '''StartServers {servers}
ServerLimit {limit}
ThreadsPerChild {threads}
MaxRequestWorkers {workers}
MinSpareThreads {spare}
MaxSpareThreads {workers}
AsyncRequestWorkerFactor 1000'''


class Client:
    """One credential against one server."""

    def __init__(self, server, headers=None, info=None):
        self.server, self.headers, self.info = server, dict(headers or {}), info or {}
        self.session = requests.Session()

    def call(self, method, path, **kwargs):
        headers = {**self.headers, **kwargs.pop('headers', {})}
        reply = self.session.request(method, self.server.url + path, headers=headers,
                                     timeout=kwargs.pop('timeout', 60), allow_redirects=False, **kwargs)
        contract.check(method, path, reply.status_code, reply.headers,
                       None if kwargs.get('stream') else reply.content)
        if reply.status_code < 300:
            contract.check_request(method, path, kwargs.get('json'))
        return reply

    def get(self, path, **kwargs):
        return self.call('GET', path, **kwargs)

    def post(self, path, **kwargs):
        return self.call('POST', path, **kwargs)

    def put(self, path, **kwargs):
        return self.call('PUT', path, **kwargs)

    def delete(self, path, **kwargs):
        return self.call('DELETE', path, **kwargs)

    @property
    def id(self):
        return self.info['user']['id']

    def with_key(self):
        return Client(self.server, {'x-api-key': self.info['api_key']}, self.info)

    def upload(self, data, name='photo.png', mime='image/png'):
        return self.post('/api/transformations/upload', files={'image': (name, data, mime)})

    def type_id(self, name):
        types = self.get('/api/transformation-types').json()['types']
        return next(t['id'] for t in types if t['name'] == name)


class Server:
    """See the top. `extra` are more httpd directives; `env` goes to httpd and the worker."""

    def __init__(self, folder, extra='', load='', env=None, mpm='event', worker='embedded',
                 servers=2, threads=16, limit=16, workers=None, providers=None, access_log=True,
                 start=True):
        self.dir = pathlib.Path(folder)
        self.extra, self.load, self.env, self.mpm, self.worker = extra, load, env or {}, mpm, worker
        self.servers, self.threads, self.limit = servers, threads, limit
        self.workers = workers or servers * threads
        self.access_log = access_log
        self.providers = {name: 'local' for name in OPERATIONS} | (providers or {})
        self.port = free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.expected_log = []
        self.httpd = None
        self.pg = None
        if start:
            try:
                self.prepare()
                self.start()
            except BaseException:
                self.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()
        if kind is None:
            self.check_log()

    # ---- files and processes
    def prepare(self):
        for name in ('run', 'log', 'secrets', 'htdocs', 'images', 'outbox', 'spool', 'conf'):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        for parent in [self.dir, *self.dir.parents]:            # pytest makes 0700 folders
            if os.stat(parent).st_uid == os.getuid() and str(parent).startswith('/tmp'):
                parent.chmod(parent.stat().st_mode | 0o711)
        secret = self.dir / 'secrets/master'
        secret.write_text('0123456789abcdef' * 4)
        secret.chmod(0o600)
        if WEB_USER:
            who = pwd.getpwnam(WEB_USER)
            for name in ('images', 'outbox', 'spool'):
                os.chown(self.dir / name, who.pw_uid, who.pw_gid)
        self.pg = PrivatePostgres(self.dir / 'pg')
        self.pg.start()
        self.pg.createdb('pixshift')
        self.dsn = self.pg.dsn('pixshift')
        self.ctl('migrate', '--database', self.dsn)
        self.write_conf()

    def write_conf(self):
        user_lines = f'User {WEB_USER}\nGroup {WEB_USER}' if WEB_USER else ''
        mpm_lines = MPM_LINES.format(servers=self.servers, limit=self.limit, threads=self.threads,
                                     workers=self.workers, spare=min(self.workers, self.threads)) \
            if self.mpm != 'prefork' else 'StartServers 4\nServerLimit 16\nMaxRequestWorkers 16'
        self.conf = self.dir / 'conf/httpd.conf'
        self.conf.write_text(CONF.format(
            dir=self.dir, port=self.port, user_lines=user_lines, modules=apxs('LIBEXECDIR'),
            prefix=PREFIX, dsn=self.dsn, worker=self.worker, extra=self.extra, load=self.load,
            mpm=self.mpm, mpm_lines=mpm_lines, access_log=f'CustomLog "{self.dir}/log/access.log" px\nExtendedStatus On' if self.access_log else '',
            providers='\n'.join(
                f'PixShiftProviders {name} {chain}' for name, chain in self.providers.items())))

    def start(self):
        env = {**os.environ, **self.env}
        program = shutil.which('apache2') or shutil.which('httpd') or '/usr/sbin/apache2'
        self.httpd = subprocess.Popen([program, '-f', str(self.conf), '-DFOREGROUND'], env=env,
                                      stdout=open(self.dir / 'log/out.log', 'ab'), stderr=subprocess.STDOUT,
                                      start_new_session=True)     # prefork stops its process group
        wait_for(self.ready, 30, what='httpd: ' + self.log_tail())

    def ready(self):
        if self.httpd.poll() is not None:
            raise AssertionError(f'httpd ended with {self.httpd.returncode}: {self.log_tail()}'
                                 + (self.dir / 'log/out.log').read_text())
        try:
            return requests.get(self.url + '/readyz', timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop_httpd(self):
        if self.httpd and self.httpd.poll() is None:
            self.httpd.send_signal(signal.SIGTERM)
            try:
                self.httpd.wait(30)
            except subprocess.TimeoutExpired:
                self.httpd.kill()
                self.httpd.wait()
        self.httpd = None

    def graceful(self):
        self.httpd.send_signal(signal.SIGUSR1)

    def close(self):
        workers = self.worker_pids() if self.httpd else []
        self.stop_httpd()
        end = time.monotonic() + 10
        for pid in workers:
            while time.monotonic() < end and alive(pid):
                time.sleep(0.05)
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        if self.pg:
            self.pg.stop()

    def worker_pids(self):
        """The worker's processes that httpd started (children of the parent)."""
        pids = []
        for entry in pathlib.Path('/proc').iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / 'stat').read_text()
                except OSError:
                    continue
                name, rest = stat[stat.index('(') + 1:stat.rindex(')')], stat[stat.rindex(')') + 2:].split()
                if name.startswith('pixshift-worke') and int(rest[1]) == self.httpd.pid and rest[0] != 'Z':
                    pids.append(int(entry.name))
        return pids

    def kill_worker(self):
        for pid in self.worker_pids():
            os.kill(pid, signal.SIGKILL)

    def ctl(self, *args, check=True, stdin=None):
        config = [] if args[0] == 'migrate' else ['-f', str(self.conf)]
        done = subprocess.run([str(PREFIX / 'bin/pixshiftctl'), *config, *args], text=True, input=stdin,
                              capture_output=True, env={**os.environ, **self.env}, timeout=120, check=False)
        if check and done.returncode:
            raise AssertionError(f'pixshiftctl {args}: {done.returncode}\n{done.stdout}{done.stderr}')
        return done

    # ---- database
    def sql(self, statement, args=None):
        """Runs one statement as the owner; returns its rows (or [])."""
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(statement, args)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement, args=None):
        return self.sql(statement, args)[0][0]

    def violations(self):
        return self.sql('SELECT * FROM pixshift.ledger_verify()')

    # ---- logs
    def log(self):
        path = self.dir / 'log/error.log'
        return path.read_text(errors='replace') if path.exists() else ''

    def log_tail(self, lines=15):
        return '\n'.join(self.log().splitlines()[-lines:])

    def expect_log(self, *patterns):
        """Error-log lines that this test provokes; any other fails it."""
        self.expected_log += patterns

    def check_log(self):
        fine = [re.compile(p) for p in HARMLESS + self.expected_log]
        bad = [line for line in self.log().splitlines()
               if line.strip() and not any(p.search(line) for p in fine)]
        assert not bad, 'unexpected lines in the error log:\n' + '\n'.join(bad[:20])

    # ---- clients
    def anonymous(self):
        return Client(self)

    def sign_up(self, email=None, password=PASSWORD):
        email = email or f'u{uuid.uuid4().hex[:12]}@example.org'
        reply = requests.post(self.url + '/api/v1/auth/register', timeout=30, json={
            'email': email, 'password': password, 'first_name': 'Test', 'last_name': 'User'})
        assert reply.status_code == 201, reply.text
        info = reply.json()
        return Client(self, {'Authorization': 'Bearer ' + info['access_token']}, info)

    def admin(self, scope='super'):
        email = f'admin{uuid.uuid4().hex[:8]}@example.org'
        secret = self.dir / 'secrets' / email
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        self.ctl('user', 'create', email, '--admin', scope, '--password-file', str(secret))
        reply = requests.post(self.url + '/api/v1/auth/login', timeout=30,
                              json={'email': email, 'password': PASSWORD})
        assert reply.status_code == 200, reply.text
        info = reply.json()
        return Client(self, {'Authorization': 'Bearer ' + info['access_token']}, info)

    def grant(self, user, amount, note='test'):
        self.ctl('credits', 'grant', user.id, str(amount), '--note', note)


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as stat:
            return stat.read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def in_parallel(count, work):
    """Runs work(i) in `count` threads at once; returns the results in order."""
    results, barrier = [None] * count, threading.Barrier(count)

    def one(index):
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:                              # handed to the caller's asserts
            results[index] = error
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def photo(width=320, height=240, mode='RGB', fmt='PNG', seed=1):
    """Bytes of a colourful picture."""
    import io
    from PIL import Image, ImageDraw
    image = Image.new('RGB', (width, height), (40 + seed % 60, 90, 160))
    draw = ImageDraw.Draw(image)
    for i in range(12):
        x, y = (i * 37 + seed * 13) % width, (i * 53 + seed * 7) % height
        draw.ellipse([x, y, x + width // 5, y + height // 5], fill=((i * 20) % 255, (i * 60) % 255, 120))
    out = io.BytesIO()
    image.convert(mode).save(out, fmt)
    return out.getvalue()


def dump(reply):
    return f'{reply.status_code} {json.dumps(dict(reply.headers))} {reply.text[:2000]}'
