"""House style that a program can check: sizes, banned calls, headers that compile alone, log ids."""
import os
import pathlib
import re
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = [SOURCE / name for name in ('mod_pixshift', 'plugins', 'include')]
BANNED = r'\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|gets|gmtime|localtime|asctime|ctime|system|popen|tmpnam|mktemp|rand|alloca)\s*\('


def files(*suffixes):
    for folder in FOLDERS:
        yield from sorted(p for p in folder.rglob('*') if p.suffix in suffixes)


def code_only(text):
    """Text without comments and string contents, same line numbers."""
    def blank(found):
        return re.sub(r'[^\n]', ' ', found.group(0))
    text = re.sub(r'/\*.*?\*/', blank, text, flags=re.S)
    text = re.sub(r'//[^\n]*', blank, text)
    return re.sub(r'"(\\.|[^"\\\n])*"', lambda m: '"' + ' ' * (len(m.group(0)) - 2) + '"', text)


def test_files_are_short():
    long = [f'{p.relative_to(SOURCE)}: {n}' for p in files('.c', '.h')
            if (n := len(p.read_text().splitlines())) > 800]
    assert not long, long


def functions(path):
    """(name, first line, length) of each function: bodies open with '{' in column 0."""
    lines = code_only(path.read_text()).splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith('{'):
            start = number
        elif line.startswith('}') and start is not None:
            yield lines[max(0, start - 3):start], start, number - start
            start = None


def test_functions_are_short():
    long = [f'{p.relative_to(SOURCE)}:{start}: {length} lines' for p in files('.c')
            for _, start, length in functions(p) if length > 120]
    assert not long, long


def test_no_banned_calls():
    faults = []
    for path in files('.c', '.h'):
        for number, line in enumerate(code_only(path.read_text()).splitlines(), 1):
            found = re.search(BANNED, line)
            if found:
                faults.append(f'{path.relative_to(SOURCE)}:{number}: {found.group(1)}')
    assert not faults, faults


def test_no_unfinished_work():
    words = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
    faults = [f'{p.relative_to(SOURCE)}:{n}' for p in files('.c', '.h')
              for n, line in enumerate(p.read_text().splitlines(), 1) if words.search(line)]
    assert not faults, faults


def test_line_width():
    faults = [f'{p.relative_to(SOURCE)}:{n}' for p in files('.c', '.h')
              for n, line in enumerate(p.read_text().splitlines(), 1) if len(line) > 110 or '\t' in line]
    assert not faults, faults[:40]


def flags():
    wanted = subprocess.run(['pkg-config', '--cflags', 'apr-1', 'apr-util-1', 'json-c', 'libpq', 'vips'],
                            capture_output=True, text=True, check=True).stdout.split()
    httpd = subprocess.run(['apxs', '-q', 'INCLUDEDIR'], capture_output=True, text=True, check=True).stdout.strip()
    build = os.environ.get('PIXSHIFT_BUILD')
    return ([f'-I{SOURCE}/include', f'-I{SOURCE}/mod_pixshift', f'-I{httpd}', '-D_GNU_SOURCE', *wanted]
            + ([f'-I{build}'] if build else []))


def test_headers_compile_alone():
    options, faults = flags(), []
    for path in files('.h'):
        done = subprocess.run(['gcc', '-std=gnu11', '-fsyntax-only', '-x', 'c', f'-I{path.parent}', *options, str(path)],
                              capture_output=True, text=True, check=False)
        errors = [line for line in done.stderr.splitlines() if 'error' in line]
        if done.returncode:
            faults.append(f'{path.relative_to(SOURCE)}: {errors[:1]}')
    assert not faults, '\n'.join(faults)


def used_log_ids():
    used = {}
    for path in files('.c', '.h', '.def'):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for found in re.findall(r'"(PXS\d{4})', line):
                used.setdefault(found, []).append(f'{path.relative_to(SOURCE)}:{number}')
    return used


def documented_log_ids():
    found = []
    for page in sorted((SOURCE / 'docs').glob('log-ids*/*.md')):
        found += re.findall(r'^\|\s*(PXS\d{4})\s*\|', page.read_text(), flags=re.M)
    return found


def test_log_ids_are_documented():
    documented = documented_log_ids()
    missing = {k: v for k, v in used_log_ids().items() if k not in documented}
    assert not missing, missing
    unused = sorted(set(documented) - set(used_log_ids()))
    assert not unused, f'documented but nowhere logged: {unused}'
    assert len(documented) == len(set(documented)), 'an id is documented twice'

