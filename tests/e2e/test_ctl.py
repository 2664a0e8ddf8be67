"""pixshiftctl: messages and exit codes, and what it leaves in the database."""
import json
import os
import re
import subprocess

import pytest

from pg import PrivatePostgres
from pixshift import PASSWORD, PREFIX, Server, wait_for

CTL = str(PREFIX / 'bin/pixshiftctl')


def ctl(*args, **kwargs):
    return subprocess.run([CTL, *args], capture_output=True, text=True, timeout=120, check=False, **kwargs)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp('ctl')) as running:
        yield running


def test_help_and_usage():
    assert ctl('--help').returncode == 0
    assert ctl().returncode == 2
    assert 'EMAIL' in ctl('user', 'create', '--help').stdout
    wrong = ctl('user')
    assert wrong.returncode == 2 and 'user create' in wrong.stderr
    assert "there is no command 'frobnicate'" in ctl('frobnicate').stderr
    assert 'there is no option --frob' in ctl('doctor', '--frob').stderr
    assert "'doctor' takes no --note" in ctl('doctor', '--note', 'x').stderr
    assert 'wants a value' in ctl('migrate', '--down').stderr
    lost = ctl('user', 'show', 'x', env={k: v for k, v in os.environ.items() if k != 'PIXSHIFT_CONFIG'})
    assert lost.returncode == 1 and 'which configuration?' in lost.stderr


def test_migrate_up_status_down(tmp_path):
    with PrivatePostgres(tmp_path / 'pg', fsync=False) as pg:
        dsn = pg.createdb('m')
        assert ctl('migrate', '--status', '--database', dsn).returncode == 1
        first = ctl('migrate', '--database', dsn)
        assert first.returncode == 0 and 'applied 0001 base' in first.stdout, first.stderr
        again = ctl('migrate', '--database', dsn)
        assert again.returncode == 0 and 'applied' not in again.stdout
        assert ctl('migrate', '--status', '--database', dsn).returncode == 0
        down = ctl('migrate', '--down', '0', '--database', dsn)
        assert down.returncode == 0 and 'took back 0001 base' in down.stdout, down.stderr
        assert pg.psql('m', "SELECT count(*) FROM pg_namespace WHERE nspname = 'pixshift'").strip() == '0'
    gone = ctl('migrate', '--database', dsn)
    assert gone.returncode == 1 and gone.stderr


def test_doctor(server):
    well = wait_for(lambda: (lambda done: done if 'alive' in done.stdout else None)(server.ctl('doctor')), 10, 0.2,
                    'a doctor who sees the worker')     # it starts beside the server
    assert 'all is well' in well.stdout and 'FAIL' not in well.stdout
    assert re.search(r'^ok +image helper', well.stdout, re.M)
    assert re.search(r'^ok +workers +1 alive', well.stdout, re.M), well.stdout


def test_doctor_finds_faults(server):
    config = json.loads(server.ctl('config', 'export').stdout)
    broken = server.dir / 'broken.json'
    config['settings']['PixShiftHelperProgram'] = '/nonexistent/helper'
    config['settings']['PixShiftStateDir'] = '/nonexistent/state'
    config['settings']['PixShiftFreeDaily'] = '4'
    broken.write_text(json.dumps(config))
    ill = ctl('-c', str(broken), 'doctor')
    assert ill.returncode == 1
    for what in ('state folder', 'image helper', 'free credits'):
        assert re.search(rf'^FAIL +{what}', ill.stdout, re.M), ill.stdout
    assert ill.stdout.count('-> ') >= 3


def test_exported_settings_hold_no_secret(server):
    text = server.ctl('config', 'export').stdout
    assert (server.dir / 'secrets/master').read_text().strip() not in text
    assert 'file:' in text
    exported = server.dir / 'exported.json'
    exported.write_text(text)
    assert ctl('ledger', 'verify', env={**os.environ, 'PIXSHIFT_CONFIG': str(exported)}).returncode == 0


def test_users(server):
    made = server.ctl('user', 'create', 'Ada@Example.org', '--admin', 'support', '--key', stdin=PASSWORD + '\n')
    assert 'admin support' in made.stdout and 'psk_live_' in made.stdout
    twice = server.ctl('user', 'create', 'ada@example.org', stdin=PASSWORD + '\n', check=False)
    assert twice.returncode == 1 and 'exists already' in twice.stderr
    weak = server.ctl('user', 'create', 'weak@example.org', stdin='password1\n', check=False)
    assert weak.returncode == 1 and 'password' in weak.stderr
    assert server.value("SELECT count(*) FROM pixshift.users WHERE email = 'weak@example.org'") == 0
    shown = server.ctl('user', 'show', 'ada@example.org').stdout
    assert re.search(r'^admin scope +support$', shown, re.M) and re.search(r'^last login +never$', shown, re.M)
    server.ctl('user', 'role', 'ada@example.org', 'user')
    assert re.search(r'^role +user$', server.ctl('user', 'show', 'ada@example.org').stdout, re.M)
    actions = server.sql("SELECT admin_email, new_value->>'role' FROM pixshift.audit_log"
                         " WHERE action = 'user.role.update' ORDER BY created_at")
    assert [row[1] for row in actions[-2:]] == ['admin', 'user'] and actions[-1][0].startswith('ctl:')
    assert server.ctl('user', 'show', 'nobody@example.org', check=False).returncode == 1


def test_password_ends_logins(server):
    user = server.sign_up('pw@example.org')
    assert user.get('/api/v1/auth/me').status_code == 200
    server.ctl('user', 'password', 'pw@example.org', stdin='another good phrase\n')
    login = server.anonymous().post('/api/v1/auth/login',
                                    json={'email': 'pw@example.org', 'password': 'another good phrase'})
    assert login.status_code == 200
    assert server.value("SELECT count(*) FROM pixshift.sessions s JOIN pixshift.users u ON u.id = s.user_id"
                        " WHERE u.email = 'pw@example.org'") == 1


def test_credits_and_ledger(server):
    user = server.sign_up()
    for _ in range(2):
        server.ctl('credits', 'grant', user.id, '25', '--note', 'welcome', '--once', f'k-{user.id}')
    assert user.get('/api/v1/credits').json()['credits'] == 25
    shown = server.ctl('credits', 'show', user.id).stdout
    assert re.search(r'^of these: paid +25$', shown, re.M) and 'welcome' in shown
    assert server.ctl('credits', 'grant', user.id, '25', check=False).returncode == 2
    assert server.ctl('credits', 'grant', user.id, '-3', '--note', 'x', check=False).returncode == 2
    verified = json.loads(server.ctl('ledger', 'verify', '--json').stdout)
    assert verified == {'lines': [], 'violations': 0}


def test_ledger_verify_sees_tampering(server):
    user = server.sign_up()
    try:
        server.sql('ALTER TABLE pixshift.wallets DISABLE TRIGGER USER')
        server.sql('UPDATE pixshift.wallets SET posted = posted + 1 WHERE user_id = %s', (user.id,))
        found = server.ctl('ledger', 'verify', check=False)
        assert found.returncode == 1 and user.id in found.stdout
    finally:
        server.sql('UPDATE pixshift.wallets SET posted = posted - 1 WHERE user_id = %s', (user.id,))
        server.sql('ALTER TABLE pixshift.wallets ENABLE TRIGGER USER')
    assert server.ctl('ledger', 'verify').returncode == 0


def test_jobs(server):
    assert server.ctl('jobs', 'list', '--state', 'dead').returncode == 0
    assert isinstance(json.loads(server.ctl('jobs', 'list', '--json').stdout), list)
    assert server.ctl('jobs', 'list', '--state', 'lost', check=False).returncode == 2
    nothing = server.ctl('jobs', 'retry', '0190a5f2-7c1e-7aaa-8bbb-0123456789ab', check=False)
    assert nothing.returncode == 1 and 'no job' in nothing.stderr


def test_plugins(server):
    listed = server.ctl('plugin', 'list').stdout
    assert re.search(r'^disk +storage +storage_fs\.so', listed, re.M)
    assert 'Root' in server.ctl('plugin', 'show', 'storage_fs').stdout
    assert 'conforms' in server.ctl('plugin', 'check', 'storage_fs').stdout
    bad = ctl('plugin', 'check', '/bin/true')
    assert bad.returncode == 1 and 'does not conform' in bad.stdout
