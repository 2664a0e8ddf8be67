"""A private PostgreSQL for tests: own data directory, Unix socket only, stopped by pid.

    with PrivatePostgres("/tmp/x/pg") as pg:
        connect(pg.createdb("test"))

PostgreSQL refuses to run as root; then every program of it runs as an unprivileged user (postgres,
else nobody), who owns the directory.  Nothing listens on TCP.  `migrate(dsn)` applies sql/ by psql,
for tests that do not want to build pixshiftctl first.
"""
import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{socket}'
unix_socket_permissions = 0777
max_connections = {connections}
shared_buffers = 64MB
fsync = {fsync}
log_line_prefix = '%m [%p] '
log_min_duration_statement = -1
"""


class PostgresMissing(RuntimeError):
    """The server's programs are not installed."""


def bindir():
    """The newest installed PostgreSQL's programs."""
    asked = os.environ.get("PIXSHIFT_PG_BINDIR")
    if asked:
        return asked
    found = [d for d in glob.glob("/usr/lib/postgresql/*/bin")
             if os.path.exists(os.path.join(d, "initdb"))]
    if found:
        return max(found, key=lambda d: int(re.search(r"/(\d+)/bin$", d).group(1)))
    initdb = shutil.which("initdb")
    if not initdb:
        raise PostgresMissing("PostgreSQL's initdb was not found: install postgresql")
    return os.path.dirname(os.path.realpath(initdb))


def unprivileged():
    """The account to run as: None for oneself, a passwd entry when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise PostgresMissing("no unprivileged account to run PostgreSQL as")


class PrivatePostgres:
    """One cluster under `directory` (made when absent). `superuser` is its only role at first."""

    superuser = "pixshift_owner"

    def __init__(self, directory, settings="", fsync=True, connections=200):
        self.directory = os.path.abspath(directory)
        self.data = os.path.join(self.directory, "data")
        self.log = os.path.join(self.directory, "postgres.log")
        # A socket's path may have 107 bytes; deep temporary directories exceed that.
        self.socket = self.directory if len(self.directory) < 80 else None
        self.settings = settings
        self.fsync = fsync
        self.connections = connections
        self.account = unprivileged()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _become(self):
        if self.account:
            os.setgroups([])
            os.setgid(self.account.pw_gid)
            os.setuid(self.account.pw_uid)

    def _run(self, *argv):
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
        done = subprocess.run([os.path.join(bindir(), argv[0]), *argv[1:]], preexec_fn=self._become,
                              cwd="/", env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode:
            raise RuntimeError("%s failed:\n%s" % (argv[0], done.stdout))
        return done.stdout

    def _make_reachable(self):
        """The other account must be able to walk to its directory; pytest's are 0700."""
        path = os.path.dirname(self.directory)
        while path != "/":
            mode = os.stat(path).st_mode
            if not mode & 0o001 and os.stat(path).st_uid == os.geteuid():
                os.chmod(path, (mode & 0o7777) | 0o011)
            path = os.path.dirname(path)

    def _init(self):
        os.makedirs(self.directory, exist_ok=True)
        if self.socket is None:
            import tempfile
            self.socket = tempfile.mkdtemp(prefix="pxpg", dir="/tmp")
        if self.account:
            self._make_reachable()
            for path in {self.directory, self.socket}:
                os.chown(path, self.account.pw_uid, self.account.pw_gid)
                os.chmod(path, 0o755)
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            self._run("initdb", "-D", self.data, "-U", self.superuser, "-A", "trust", "-E", "UTF8",
                      "--locale=C.UTF-8", "--no-sync")
            with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
                conf.write(SETTINGS.format(socket=self.socket, connections=self.connections,
                                           fsync="on" if self.fsync else "off") + self.settings)

    def start(self):
        """Starts the server and waits until it answers; returns self."""
        self._init()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(bindir(), "postgres"), "-D", self.data], preexec_fn=self._become,
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("PostgreSQL ended at start:\n" + self.tail())
            ready = subprocess.run([os.path.join(bindir(), "pg_isready"), "-q", "-h", self.socket],
                                   check=False)
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL does not answer:\n" + self.tail())

    def stop(self, mode=signal.SIGINT):
        """Fast shutdown (SIGINT) or an immediate one (SIGQUIT); waits for the end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(mode)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def restart(self, mode=signal.SIGINT):
        self.stop(mode)
        return self.start()

    def tail(self, count=4000):
        with open(self.log, "rb") as log:
            return log.read()[-count:].decode("utf-8", "replace")

    def dsn(self, database="postgres", user=None):
        return "host=%s dbname=%s user=%s" % (self.socket, database, user or self.superuser)

    def psql(self, database, sql=None, file=None):
        """Runs SQL as the owner; stops at the first error, which it raises."""
        argv = [os.path.join(bindir(), "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                self.dsn(database)]
        argv += ["-f", file] if file else ["-c", sql]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, env=dict(os.environ, PGOPTIONS=""))
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def createdb(self, name):
        """Makes an empty database and returns its connection string."""
        self.psql("postgres", 'CREATE DATABASE "%s"' % name)
        return self.dsn(name)

    def dropdb(self, name):
        self.psql("postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % name)

    def migrate(self, database, before=None, only=None):
        """Applies sql/*.up.sql in order and records them as pixshiftctl does. `before` maps a version
        to SQL that runs ahead of it; `only` is the set of versions wanted (default: all)."""
        for path in sorted(glob.glob(os.path.join(ROOT, "sql", "*.up.sql"))):
            version, name = re.match(r"0*(\d+)_(.+)\.up\.sql$", os.path.basename(path)).groups()
            if only is not None and int(version) not in only:
                continue
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            if before and int(version) in before:
                self.psql(database, before[int(version)])
            self.psql(database, file=path)
            self.psql(database, "INSERT INTO pixshift.schema_migrations (version, name, sha256)"
                                " VALUES (%s, '%s', '%s')" % (version, name, digest))

    def destroy(self):
        """Stops the server and removes everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.socket and self.socket != self.directory:
            shutil.rmtree(self.socket, ignore_errors=True)


def main(argv):
    """pg.py -- COMMAND …: runs a command with PIXSHIFT_TEST_DB naming a fresh private server."""
    import sys
    import tempfile
    if len(argv) < 2 or argv[0] != "--":
        sys.exit("usage: pg.py -- COMMAND ...")
    with tempfile.TemporaryDirectory(prefix="pxpg", dir="/tmp") as scratch:
        server = PrivatePostgres(os.path.join(scratch, "pg"), fsync=False).start()
        try:
            return subprocess.run(argv[1:], env=dict(os.environ, PIXSHIFT_TEST_DB=server.dsn()),
                                  check=False).returncode
        finally:
            server.destroy()


if __name__ == "__main__":
    import sys
    sys.exit(main(sys.argv[1:]))
