"""The arrows of the design: what each folder may include, and which library may be seen where."""
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CORE = SOURCE / 'mod_pixshift'
FOUNDATIONS = {'http', 'image', 'plugin', 'net', 'cache', 'db', 'config'}
FEATURES = {'account', 'credit', 'billing', 'studio', 'webhook', 'admin'}
HOSTS = {'apache', 'worker', 'ctl'}

# Features reach each other only along these arrows; everybody may write an outbox row.
FEATURE_ARROWS = {
    'account': {'credit', 'webhook', 'admin'},      # a new account gets its wallet; acts are audited
    'billing': {'credit', 'webhook', 'admin'},
    'studio': {'credit', 'webhook', 'admin'},
    'credit': {'webhook'},
    'webhook': set(),
    'admin': FEATURES,
}
# Foundations among themselves: settings and the app are plain data; storage of state is PostgreSQL.
FOUNDATION_ARROWS = {
    'config': set(),
    'db': {'config'},
    'cache': {'config', 'db'},
    'net': {'config', 'cache'},
    'plugin': {'config', 'net', 'cache'},
    'http': {'config', 'db', 'cache'},
    'image': {'config', 'plugin'},
}

HTTPD_HEADERS = {'httpd.h', 'http_config.h', 'http_core.h', 'http_log.h', 'http_protocol.h',
                 'http_request.h', 'http_connection.h', 'ap_mpm.h', 'scoreboard.h', 'mod_auth.h',
                 'mod_status.h', 'util_filter.h', 'unixd.h', 'mpm_common.h', 'ap_listen.h'}


def sources(folder):
    return sorted(p for p in folder.rglob('*') if p.suffix in ('.c', '.h', '.def'))


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if found:
            yield number, found.group(1)


def allowed(folder):
    """Folders that `folder` may include."""
    if folder == 'base':
        return {'base'}
    if folder in FOUNDATIONS:
        return {'base', folder} | FOUNDATION_ARROWS[folder]
    if folder in FEATURES:
        return {'base', folder} | FOUNDATIONS | FEATURE_ARROWS[folder]
    return {'base', folder} | FOUNDATIONS | FEATURES


def test_arrows_point_down():
    faults = []
    known = {'base'} | FOUNDATIONS | FEATURES | HOSTS
    for folder in sorted(p.name for p in CORE.iterdir() if p.is_dir()):
        assert folder in known, f'{folder} has no place in the design'
        for path in sources(CORE / folder):
            for number, name in includes(path):
                target = name.split('/')[0] if '/' in name else None
                if target in known and target not in allowed(folder):
                    faults.append(f'{path.relative_to(SOURCE)}:{number}: {folder}/ must not include {name}')
    assert not faults, '\n'.join(faults)


def test_no_relative_escape():
    faults = [f'{p.relative_to(SOURCE)}:{n}' for p in sources(CORE) for n, name in includes(p) if '..' in name]
    assert not faults, faults


def library_faults(match, permitted):
    return [f'{p.relative_to(SOURCE)}:{n}: {name}' for p in sources(CORE) for n, name in includes(p)
            if match(name) and not permitted(p)]


def test_httpd_only_in_its_host():
    assert not library_faults(lambda n: n in HTTPD_HEADERS, lambda p: p.parent.name == 'apache')


def test_libpq_only_in_db():
    assert not library_faults(lambda n: n.startswith(('libpq', 'postgres', 'pgtypes')),
                              lambda p: p.parent.name == 'db' or p.name.endswith('_store.c'))


def test_sql_only_in_stores():
    """Statements are written in db/ and *_store.c only."""
    statement = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE pixshift|DELETE FROM|WITH \w+ AS)\b')
    faults = []
    for path in sources(CORE):
        if path.parent.name == 'db' or path.name.endswith('_store.c'):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if statement.search(line):
                faults.append(f'{path.relative_to(SOURCE)}:{number}: {line.strip()}')
    assert not faults, '\n'.join(faults)


def test_curl_only_in_net():
    assert not library_faults(lambda n: n.startswith('curl/'), lambda p: p.parent.name == 'net')


def test_vips_only_in_helper_and_declared_plugins():
    assert not library_faults(lambda n: n.startswith('vips/'),
                              lambda p: p.parent.name == 'image' and p.name.startswith('vips'))
    for path in sources(SOURCE / 'plugins'):
        for number, name in includes(path):
            if name.startswith('vips/'):
                assert path.parent.name == 'ai_local', f'{path}:{number}'


def test_plugins_include_the_sdk_only():
    forbidden = re.compile(r'^(apr|curl/|json-c/|httpd|base/|db/|http/|net/|plugin/|config/|credit/)')
    faults = [f'{p.relative_to(SOURCE)}:{n}: {name}' for p in sources(SOURCE / 'plugins')
              for n, name in includes(p) if forbidden.match(name)]
    assert not faults, faults


def test_sdk_header_stands_alone():
    for _, name in includes(SOURCE / 'include/pixshift/plugin.h'):
        assert name in ('stddef.h', 'stdint.h')
