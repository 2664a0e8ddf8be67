"""What an operator meets: the doctor, plugins, exported settings, a schema or a database that does not fit,
and production mode."""
import json
import os
import pathlib
import re
import subprocess

import pytest
import requests

from pixshift import PREFIX, SOURCE, Server, apxs, wait_for

BUILD = pathlib.Path(os.environ.get('PIXSHIFT_BUILD', '.')).resolve()
BUNDLED = ['ai_local', 'storage_fs', 'message_outbox']
# The check that fails and what it says; the plugins that loop for long are the unit tests' business.
BROKEN = {
    'b_symbol': 'FAIL descriptor: the symbol pixshift_plugin is missing',
    'b_magic': "FAIL descriptor: bad magic 0xdeadbeef: this is not a PixShift plugin's descriptor",
    'b_major': 'FAIL descriptor: built for ABI major 2, this host speaks 1',
    'b_missing': 'FAIL descriptor: operation missing: run',
    'b_short': 'FAIL descriptor: the ai ops table is too short: ',
    'b_options': 'FAIL descriptor: bad option table: option Mode is an enum without choices',
    'b_default': 'FAIL descriptor: bad option table: the default of option Quality does not fit',
    'b_constructor': 'FAIL descriptor: it crashed (signal 6, Aborted) while its descriptor was read',
    'b_hang': 'FAIL descriptor: it hung: no answer within ',
    'b_open': 'FAIL open and close: it crashed (signal 11, Segmentation fault) while opening an instance',
    'b_close': 'FAIL open and close: it crashed (signal 11, Segmentation fault) while closing NULL',
    'b_leak': 'FAIL open and close: it leaks memory: about ',
    'b_refuses': 'FAIL open and close: open fails without a sentence',
    'b_stale': 'while running the second instance after the first was closed',
    'b_run': 'FAIL built-in case: it crashed',
    'b_overread': 'FAIL built-in case: it crashed',
    'b_step': 'FAIL built-in case: it returned the unknown step 17',
    'b_endless': 'FAIL built-in case: it does not come to an end',
}


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp('operate')) as running:
        running.expect_log(r'PXS\d{4}')
        yield running


def cut_connections(server):
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
               " AND datname = 'pixshift' AND backend_type = 'client backend'")


def status(server, path='/readyz', **kwargs):
    return requests.get(server.url + path, timeout=20, **kwargs).status_code


def plugin_ctl(*args):
    return subprocess.run([str(PREFIX / 'bin/pixshiftctl'), 'plugin', *args], capture_output=True, text=True,
                          timeout=120, check=False)


# ---- the doctor --------------------------------------------------------------------------------

def test_doctor_is_content_with_a_running_server(server):
    done = server.ctl('doctor')
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and 'all is well' in lines[-1]
    assert len([line for line in lines if line.startswith('ok ')]) >= 8, done.stdout
    assert not [line for line in lines if line.startswith('FAIL')]


def test_doctor_names_a_stopped_database_and_the_service_recovers(server):
    user = server.sign_up()
    server.pg.stop()
    try:
        ill = server.ctl('doctor', check=False)
        assert ill.returncode == 1
        assert re.search(r'^FAIL +database .*\n +-> is it running', ill.stdout, re.M), ill.stdout
        assert re.search(r'^ok +plugins', ill.stdout, re.M), 'what needs no database is checked all the same'
        assert status(server) == 503
        assert status(server, '/healthz') == 200
        reply = requests.get(server.url + '/api/transformations', headers=user.headers, timeout=20)
        assert reply.status_code == 503 and 'retry-after' in reply.headers and reply.json()['error']['code']
    finally:
        server.pg.start()
    wait_for(lambda: status(server) == 200, 20, 0.2, 'the service after the outage')
    wait_for(lambda: requests.get(server.url + '/api/transformations', headers=user.headers, timeout=20)
             .status_code == 200, 20, 0.2, 'the user after the outage')
    wait_for(lambda: server.ctl('doctor', check=False).returncode == 0, 20, 0.5, 'a content doctor')


# ---- a database that does not fit --------------------------------------------------------------

@pytest.mark.parametrize('how', ['newer', 'older'])
def test_schema_of_another_version(server, how):
    newest = server.value('SELECT max(version) FROM pixshift.schema_migrations')
    if how == 'newer':
        server.sql("INSERT INTO pixshift.schema_migrations (version, name, sha256) VALUES (9999, 'of tomorrow', repeat('0', 64))")
        back = 'DELETE FROM pixshift.schema_migrations WHERE version = 9999'
    else:
        server.sql('CREATE TABLE kept AS SELECT * FROM pixshift.schema_migrations WHERE version = %s', [newest])
        server.sql('DELETE FROM pixshift.schema_migrations WHERE version = %s', [newest])
        back = 'INSERT INTO pixshift.schema_migrations SELECT * FROM kept; DROP TABLE kept'
    try:
        cut_connections(server)
        wait_for(lambda: status(server) == 503, 10, 0.1, 'the refusal')
        reply = requests.post(server.url + '/api/v1/auth/login', timeout=10,
                              json={'email': 'a@example.org', 'password': 'x' * 12})
        assert reply.status_code == 503
        assert 'schema' not in reply.text, 'the cause is for the log'
        assert 'PXS2010' in server.log()
        wanted = 'install the newer program' if how == 'newer' else 'run pixshiftctl migrate'
        assert wanted in server.log()
        ill = server.ctl('doctor', check=False)
        assert ill.returncode == 1 and re.search(r'^FAIL +schema', ill.stdout, re.M), ill.stdout
    finally:
        server.sql(back)
    wait_for(lambda: status(server) == 200, 20, 0.2, 'the service with its schema')
    server.sign_up()


def test_synchronous_commit_off_is_refused(server):
    server.sql('ALTER DATABASE pixshift SET synchronous_commit = off')
    try:
        cut_connections(server)
        wait_for(lambda: status(server) == 503, 10, 0.1, 'the refusal')
        login = requests.post(server.url + '/api/v1/auth/login', timeout=10,
                              json={'email': 'a@example.org', 'password': 'x' * 12})
        assert login.status_code == 503
        wait_for(lambda: 'PXS2011' in server.log(), 10, what='PXS2011')
        ill = server.ctl('doctor', check=False)
        assert ill.returncode == 1
        assert re.search(r'^FAIL +durability .*\n +-> set synchronous_commit = on', ill.stdout, re.M), ill.stdout
    finally:
        server.sql('ALTER DATABASE pixshift RESET synchronous_commit')
    wait_for(lambda: status(server) == 200, 20, 0.2, 'the service')


# ---- plugins -----------------------------------------------------------------------------------

def test_plugin_list(server):
    done = server.ctl('plugin', 'list')
    for section, kind, file in (('local', 'ai', 'ai_local.so'), ('disk', 'storage', 'storage_fs.so'),
                                ('outbox', 'message', 'message_outbox.so')):
        assert re.search(rf'^{section} +{kind} +{re.escape(file)} ', done.stdout, re.M), done.stdout
    assert re.search(r'^transformation: local$', done.stdout, re.M)


@pytest.mark.parametrize('name', BUNDLED)
def test_bundled_plugin(name):
    shown = plugin_ctl('show', name)
    assert shown.returncode == 0 and shown.stdout.startswith(name), shown.stdout + shown.stderr
    assert 'capabilities' in shown.stdout
    cases = SOURCE / 'plugins' / name / 'cases'
    checked = plugin_ctl('check', name, *(['--cases', str(cases)] if cases.is_dir() else []))
    assert checked.returncode == 0 and f'{name}.so conforms' in checked.stdout, checked.stdout


def test_plugin_that_is_not_there():
    lost = plugin_ctl('show', 'ai_of_tomorrow')
    assert lost.returncode == 1 and 'ai_of_tomorrow' in lost.stderr
    assert plugin_ctl('check', 'ai_of_tomorrow').returncode == 1
    assert plugin_ctl('show').returncode == 2


@pytest.mark.parametrize('name', sorted(BROKEN))
def test_broken_plugin(name):
    file = BUILD / 'tests/plugins/broken/.libs' / f'{name}.so'
    if not file.exists():
        pytest.skip('built by make check')
    done = plugin_ctl('check', str(file))
    if 'sanitizer' in done.stderr.lower():
        pytest.skip('a sanitizer reports otherwise')
    assert done.returncode == 1 and f'{name}.so does not conform' in done.stdout, done.stdout
    assert BROKEN[name] in done.stdout, done.stdout


def test_sound_plugin_of_a_third_party():
    file = BUILD / 'tests/plugins/broken/.libs/b_good.so'
    if not file.exists():
        pytest.skip('built by make check')
    done = plugin_ctl('check', str(file))
    assert done.returncode == 0 and 'b_good.so conforms' in done.stdout, done.stdout


# ---- settings ----------------------------------------------------------------------------------

def test_export_hides_every_secret(server):
    """Also inline ones and those of plugin sections; what is exported is JSON with references."""
    text = server.conf.read_text()
    secret = 'inline:' + 'k' * 40
    other = server.dir / 'conf/inline.conf'
    other.write_text(re.sub(r'^PixShiftSecret .*$', f'PixShiftSecret "{secret}"', text, flags=re.M))
    done = subprocess.run([str(PREFIX / 'bin/pixshiftctl'), '-f', str(other), 'config', 'export'],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert 'k' * 40 not in done.stdout + done.stderr
    assert json.loads(done.stdout)['settings']['PixShiftBaseURL'] == server.url


@pytest.mark.parametrize('env', [{'PIXSHIFT_TEST_CLOCK': '/nowhere'}, {'PIXSHIFT_FAILPOINT': 'x:1:kill'}])
def test_production_refuses_tools_of_tests(server, env):
    conf = server.dir / 'conf/production.conf'
    conf.write_text(server.conf.read_text().replace('PixShiftMode development', 'PixShiftMode production')
                    .replace('PixShiftPasswordCost 4', 'PixShiftPasswordCost 12'))
    program = pathlib.Path(apxs('SBINDIR')) / apxs('PROGNAME')
    program = program if program.exists() else pathlib.Path('/usr/sbin/apache2')
    run = lambda extra: subprocess.run([str(program), '-t', '-f', str(conf)], capture_output=True, text=True,
                                       timeout=60, check=False, env={**os.environ, **extra})
    # Where the tests run, the folders of the plugins may not be as safe as production mode wants them.
    assert 'PixShiftMode production' not in run({}).stderr
    refused = run(env)
    assert refused.returncode != 0 and 'PixShiftMode production' in refused.stderr, refused.stderr
