#!/usr/bin/env python3
"""Writes docs/directives.md from mod_pixshift/config/settings.def and the list directives below.

    gen_directives.py            writes the page
    gen_directives.py --check    fails when the page is not up to date"""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TABLE = SOURCE / 'mod_pixshift/config/settings.def'
PAGE = SOURCE / 'docs/directives.md'

ARGUMENTS = {
    'STRING': 'text', 'INTEGER': 'number', 'BOOLEAN': 'On|Off', 'DURATION': 'duration', 'SIZE': 'size',
    'PATH': 'path', 'URL': 'address', 'SECRET': 'reference'}

NOTES = {
    'DURATION': 'A number with ms, s, min, h or d; a bare number is seconds.',
    'SIZE': 'Bytes, or a number with K, M or G (powers of 1024).',
    'PATH': 'A relative path begins at ServerRoot.',
    'SECRET': 'Where the secret is kept: `file:/path` (mode 0400 or 0600, owned by root or the starting '
              'user), `env:NAME`, `exec:/program args` (no shell, 5 s), `cred:name` (systemd), or, outside '
              'production mode, `inline:VALUE`. It is read once, before privileges are dropped, and never '
              'printed.'}

# Built-in defaults that configure decides.
BUILT_IN = {'PixShiftPluginDir': '`$(libdir)/pixshift/plugins`',
            'PixShiftWorkerProgram': '`$(libexecdir)/pixshift/pixshift-worker`',
            'PixShiftHelperProgram': '`$(libexecdir)/pixshift/pixshift-helper`'}

EXAMPLES = {
    'PixShift': 'PixShift On', 'PixShiftMode': 'PixShiftMode production',
    'PixShiftBaseURL': 'PixShiftBaseURL https://img.example.com',
    'PixShiftDatabase': 'PixShiftDatabase "host=/run/postgresql dbname=pixshift user=pixshift"',
    'PixShiftDatabasePassword': 'PixShiftDatabasePassword file:/etc/pixshift/database.password',
    'PixShiftSecret': 'PixShiftSecret file:/etc/pixshift/master',
    'PixShiftPluginDir': 'PixShiftPluginDir /opt/pixshift/plugins',
    'PixShiftWorkerProgram': 'PixShiftWorkerProgram /opt/pixshift/libexec/pixshift-worker',
    'PixShiftHelperProgram': 'PixShiftHelperProgram /opt/pixshift/libexec/pixshift-helper',
    'PixShiftStorage': 'PixShiftStorage disk', 'PixShiftMail': 'PixShiftMail outbox',
    'PixShiftSMS': 'PixShiftSMS outbox', 'PixShiftEgressAllow': 'PixShiftEgressAllow "127.0.0.0/8 ::1/128"',
    'PixShiftTLSCAFile': 'PixShiftTLSCAFile /etc/pixshift/ca.pem',
    'PixShiftCORSOrigins': 'PixShiftCORSOrigins "https://app.example.com https://admin.example.com"'}

DETAILS = {
    'PixShift': 'This is the one directive that may also stand in a `<VirtualHost>`: it says which servers '
                'answer under /api, /v1, /healthz and so on; the others pass these addresses on. When it is '
                'On anywhere, PixShiftDatabase, PixShiftSecret, PixShiftBaseURL and PixShiftStorage are '
                'required.',
    'PixShiftMode': 'Production mode also refuses a PixShiftPasswordCost below 10 and plugins that somebody '
                    'other than root may write to.',
    'PixShiftDatabase': 'It must not hold a password: see PixShiftDatabasePassword. Each httpd child opens up '
                        'to PixShiftDatabasePool connections, and two more for streams.',
    'PixShiftStateDir': 'It is made at start, with mode 0700 and for the User of httpd, when it is missing.',
    'PixShiftWorker': '`embedded`: httpd starts the worker, starts it again when it dies, and tells it to '
                      'drain at a graceful restart. `external`: systemd or another machine runs '
                      'pixshift-worker. `off`: jobs wait.',
    'PixShiftStreams': 'A stream or wait holds about 36 KiB and no thread on the event MPM. httpd admits '
                       'connections up to ThreadsPerChild + idle threads x AsyncRequestWorkerFactor per child: '
                       'raise that factor (200 is a good start), and ServerLimit to two or three times the '
                       'processes needed. Beyond the limit a wait is answered at once with the present state, '
                       'and a stream with 503.',
    'PixShiftBlockingWaits': 'The event MPM on HTTP/1.1 never needs them.',
    'PixShiftWaitMax': 'A client asks with `Prefer: wait=n` or `?wait=n`.'}

LISTS = [
    ('PixShiftProviders', 'PixShiftProviders operation section [section] …', 'none', 'server config',
     'Which plugin sections do an operation (transformation, tryon, generation, enhancement, chat); the order '
     'is the order of fallback. Each section must exist and be able to do it.',
     'PixShiftProviders transformation gemini openai local'),
    ('PixShiftCost', 'PixShiftCost operation[:variant[:variant]] credits',
     'transformation 1; generation 1; tryon:top 1; tryon:full 2; enhancement:standard:2 and :4 1, :8 2; '
     'enhancement:enhanced:2 and :4 2, :8 3; enhancement:portrait, :product and :gentle 1', 'server config',
     'Credits for one job. The longest match counts: `tryon:full` before `tryon`. An own row also replaces the '
     'shipped rows of its variants: `PixShiftCost tryon 3` prices every try-on.',
     'PixShiftCost enhancement:enhanced:8 4'),
    ('PixShiftRetention', 'PixShiftRetention operation none|ephemeral|persistent',
     'transformation ephemeral; tryon persistent; generation persistent; enhancement ephemeral; chat persistent',
     'server config',
     'What becomes of results: `none` hands the result out once; `ephemeral` deletes it '
     'PixShiftDeleteAfterDownload after the first complete download, at the latest after '
     'PixShiftResultLifetime; `persistent` keeps it until the user deletes it.',
     'PixShiftRetention transformation persistent'),
    ('PixShiftRateLimit', 'PixShiftRateLimit name ip|key|user requests|jobs limit window | name off',
     'ip ip requests 100 1min; key key requests 1000 1h; user-jobs user jobs 50 1d', 'server config',
     'At most `limit` requests or jobs per window for one address, API key or user. An own limit replaces the '
     'shipped one of the same name, or of the same subject and unit; `off` removes a shipped one.',
     'PixShiftRateLimit ip ip requests 600 1min'),
    ('PixShiftTier', 'PixShiftTier id name per_image|monthly price currency [images [description]]',
     'basic Basic per_image 0.99 USD; premium Premium monthly 9.99 USD 100', 'server config',
     'A pricing tier that users may choose. Prices are exact decimals above zero; `images` is the number '
     'included per month. The first own tier replaces all shipped ones.',
     'PixShiftTier studio "Studio" monthly 49.90 EUR 500 "For studios"'),
    ('&lt;PixShiftPlugin&gt;', '&lt;PixShiftPlugin section file&gt; … &lt;/PixShiftPlugin&gt;', 'none', 'server config',
     'Loads a plugin (relative to PixShiftPluginDir) under a section name of a-z, 0-9, _ and -. Each line inside '
     'is an option of the plugin with one value; `pixshiftctl plugin show FILE` lists them. The same file may '
     'have several sections.',
     '<PixShiftPlugin gemini ai_gemini.so>\n    ApiKey file:/etc/pixshift/gemini.key\n</PixShiftPlugin>'),
    ('AuthType PixShift', 'AuthType PixShift', 'none', 'directory, .htaccess',
     'Guards any address with the accounts of PixShift: session cookie, bearer token or API key. Programs '
     'see PIXSHIFT_USER (id), PIXSHIFT_ROLE, PIXSHIFT_EMAIL, PIXSHIFT_TIER and PIXSHIFT_KEY in the '
     'environment; REMOTE_USER is the id. A proxied back end gets them by mod_headers: '
     '`RequestHeader set X-PixShift-User "%{PIXSHIFT_USER}e"`; headers of clients that begin with X-PixShift- '
     'or X-PS- are removed. httpd answers 401 also to a user whom no Require lets in, unless '
     '`AuthzSendForbiddenOnFailure On` asks for 403.',
     '<Location "/members">\n    AuthType PixShift\n    AuthName "members"\n    Require pixshift-user\n</Location>'),
    ('Require pixshift-user', 'Require pixshift-user [id|e-mail] …', 'none', 'directory, .htaccess',
     'Without arguments anybody who is signed in, else only those named.',
     'Require pixshift-user ann@example.com'),
    ('Require pixshift-role', 'Require pixshift-role admin|user …', 'none', 'directory, .htaccess',
     'Users with one of these roles.', 'Require pixshift-role admin')]


def rows():
    """Dictionaries of the PX_SETTING lines."""
    pattern = re.compile(r'PX_SETTING\((\w+),\s*"(\w+)",\s*(\w+),\s*(NULL|"[^"]*"),\s*(\d+),\s*(\d+),\s*'
                         r'(NULL|"[^"]*"),\s*"([^"]*)"\)')
    for line in TABLE.read_text().splitlines():
        if line.startswith('PX_SETTING('):
            found = pattern.fullmatch(line.strip())
            assert found, f'cannot read: {line}'
            yield dict(zip(('id', 'name', 'type', 'default', 'min', 'max', 'choices', 'doc'),
                           (None if g == 'NULL' else g.strip('"') for g in found.groups())))


def unit(value, kind):
    value = int(value)
    if kind == 'DURATION':
        for size, name in ((86400000, 'd'), (3600000, 'h'), (60000, 'min'), (1000, 's')):
            if value and value % size == 0:
                return f'{value // size}{name}'
        return f'{value}ms'
    if kind == 'SIZE':
        for size, name in ((1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')):
            if value and value % size == 0:
                return f'{value // size}{name}'
    return str(value)


def section(name, syntax, default, context, text, example):
    return (f'## {name}\n\n| | |\n|---|---|\n| Syntax | `{syntax}` |\n| Default | {default} |\n'
            f'| Context | {context} |\n\n{text}\n\n```\n{example}\n```\n')


def scalar(row):
    name, kind = row['name'], row['type']
    argument = row['choices'] if kind == 'ENUM' else ARGUMENTS[kind]
    default = f"`{row['default']}`" if row['default'] is not None else BUILT_IN.get(name, 'none')
    context = 'server config, virtual host' if name == 'PixShift' else 'server config'
    parts = [row['doc']]
    if row['max'] != '0':
        parts.append(f"From {unit(row['min'], kind)} to {unit(row['max'], kind)}.")
    parts += [DETAILS[name]] if name in DETAILS else []
    parts += [NOTES[kind]] if kind in NOTES else []
    example = EXAMPLES.get(name) or f"{name} {row['default']}"
    return section(name, f'{name} {argument}'.replace('|', '\\|'), default, context, ' '.join(parts), example)


def anchor(name):
    plain = name.replace('&lt;', '').replace('&gt;', '')
    return re.sub(r'[^a-z0-9 -]', '', plain.lower()).replace(' ', '-')


def page():
    lists = [section(n, s.replace('|', '\\|').replace('&lt;', '<').replace('&gt;', '>'), d, c, t, e)
             for n, s, d, c, t, e in LISTS]
    scalars = list(rows())
    names = [r['name'] for r in scalars] + [entry[0] for entry in LISTS]
    index = '\n'.join(f'- [{n}](#{anchor(n)})' for n in names)
    head = ('# Directives\n\nMade by tests/style/gen_directives.py from mod_pixshift/config/settings.def; do not edit.\n\n'
            'All directives belong to the main server (there is one PixShift per httpd) except where the context '
            'says more. Values may hold `${NAME}`, which is taken from the environment. Every scalar directive may '
            'be given once. `apachectl configtest` reports faults with file and line; `httpd -t -D DUMP_PIXSHIFT` '
            'prints the effective settings as JSON, without secrets.\n\n')
    return head + index + '\n\n' + '\n'.join([scalar(r) for r in scalars] + lists)


def main():
    text = page()
    if '--check' in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit('docs/directives.md is not up to date: run tests/style/gen_directives.py')
        return
    PAGE.write_text(text)


if __name__ == '__main__':
    main()
