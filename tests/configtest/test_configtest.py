"""configtest: each file of good/ passes, each of bad/ fails with the sentences that it names.

Comment lines of a case:
    # expect: TEXT     must be in the output; {file} is the case's path
    # refuse: TEXT     must not be in the output (a secret, for example)
    # env: NAME=VALUE  environment of httpd
    # dump: PATH JSON  value in the output of `httpd -t -D DUMP_PIXSHIFT`; "missing" = not there
${PX_TEST_DIR} is a folder of the test, ${PX_CASES} the folder of this file.

Environment: PIXSHIFT_BUILD, the build folder with mod_pixshift.so and the bundled plugins."""
import json
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get('PIXSHIFT_BUILD', '.')).resolve()
MODULE = BUILD / '.libs/mod_pixshift.so'


def apxs(name):
    return subprocess.run(['apxs', '-q', name], capture_output=True, text=True, check=True).stdout.strip()


def httpd():
    for folder in (apxs('SBINDIR'), '/usr/sbin'):
        program = pathlib.Path(folder) / apxs('PROGNAME')
        if program.exists():
            return str(program)
    raise AssertionError('no httpd program')


BASE = '''
ServerRoot "{dir}"
DefaultRuntimeDir "{dir}"
PidFile "{dir}/httpd.pid"
ErrorLog "{dir}/error.log"
Listen 127.0.0.1:1
ServerName 127.0.0.1
LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
LoadModule authn_core_module "{modules}/mod_authn_core.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule pixshift_module "{module}"
PixShiftPluginDir "{plugins}"
PixShiftStateDir "{dir}/state"
Include "{case}"
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('configtest')
    secret = path / 'secret'
    secret.write_text('0123456789abcdef0123456789abcdef\n')
    secret.chmod(0o400)
    (path / 'open').write_text('0123456789abcdef0123456789abcdef\n')
    (path / 'open').chmod(0o644)
    return path


def marks(case, word):
    prefix = f'# {word}: '
    return [line[len(prefix):] for line in case.read_text().splitlines() if line.startswith(prefix)]


def spelled(text, case, folder):
    return text.replace('{file}', str(case)).replace('${PX_TEST_DIR}', str(folder))


def run(case, folder, *options):
    conf = folder / 'httpd.conf'
    conf.write_text(BASE.format(dir=folder, modules=apxs('LIBEXECDIR'), module=MODULE,
                                plugins=BUILD / '.libs', case=case))
    env = {k: v for k, v in os.environ.items() if not k.startswith('PIXSHIFT_') and k != 'PX_NOT_SET'}
    env.update(PX_TEST_DIR=str(folder), PX_CASES=str(HERE), PX_DB_HOST='db.example.com',
               PX_DB_PASSWORD='a password of the environment')
    env.update(pair.split('=', 1) for pair in marks(case, 'env'))
    done = subprocess.run([httpd(), '-t', '-f', str(conf), *options], capture_output=True, text=True,
                          env=env, timeout=60, check=False)
    assert 'a password of the environment' not in done.stdout + done.stderr
    return done


def cases(kind):
    return [pytest.param(p, id=p.stem) for p in sorted((HERE / kind).glob('*.conf'))]


def lookup(value, path):
    for key in path.split('.'):
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if value else None
    return value


@pytest.mark.parametrize('case', cases('good'))
def test_good(case, folder):
    done = run(case, folder, '-D', 'DUMP_PIXSHIFT')
    assert done.returncode == 0, done.stderr
    assert 'Syntax OK' in done.stderr
    printed = json.loads(done.stdout)
    assert 'secrets' not in printed
    for line in marks(case, 'dump'):
        path, wanted = line.split(' ', 1)
        wanted = None if wanted == 'missing' else json.loads(spelled(wanted, case, folder))
        assert lookup(printed, path) == wanted, line


@pytest.mark.parametrize('case', cases('bad'))
def test_bad(case, folder):
    done = run(case, folder)
    assert done.returncode != 0, 'configtest accepted it'
    expected = marks(case, 'expect')
    assert expected, f'{case} names no expected message'
    for text in expected:
        assert spelled(text, case, folder) in done.stderr, done.stderr
    for text in marks(case, 'refuse'):
        assert text not in done.stderr
