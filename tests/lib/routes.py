"""The route tables (`const px_route …[] = {…};`) as the C sources say them, read without a compiler:
comments out, the file's own macros expanded, initialisers split."""
import dataclasses
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TABLE = re.compile(r'const\s+px_route\s+(\w+)\s*\[\s*\]\s*=\s*\{')
DEFINE = re.compile(r'^#define\s+(\w+)(\(([^)]*)\))?[ \t]+(.*)$', re.M)
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\w+|\S')
USER = frozenset({'COOKIE', 'SESSION', 'JWT'})
CREDS = {'NONE': frozenset({'NONE'}), 'USER': USER, 'ANY': USER | {'KEY'}, 'KEY': frozenset({'KEY'}),
         'COOKIE': frozenset({'COOKIE'}), 'SESSION': frozenset({'SESSION'}), 'JWT': frozenset({'JWT'})}


@dataclasses.dataclass
class Route:
    method: str
    path: str
    dialect: str            # PIXSHIFT, TRAILROOM, OPENAI
    creds: frozenset
    scope: str              # "jobs:write", "account", … or ''
    body: str               # NONE, JSON, MULTIPART, JSON_OR_MULTIPART
    flags: frozenset
    handler: str
    summary: str
    file: str


def tokens(text):
    text = re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)
    return TOKEN.findall(text)


def macros(text):
    """name -> (parameters or None, tokens)"""
    found = {}
    for name, called, parameters, body in DEFINE.findall(text.replace('\\\n', ' ')):
        names = [p.strip() for p in parameters.split(',')] if called else None
        found[name] = (names, tokens(body))
    return found


def call_arguments(toks, at):
    """Arguments of a call whose '(' is at `at`, and the index behind its ')'."""
    depth, arguments, current = 0, [], []
    while True:
        tok = toks[at]
        depth += (tok in '([{') - (tok in ')]}')
        if depth == 0:
            return [*arguments, current], at + 1
        if tok == ',' and depth == 1:
            arguments.append(current)
            current = []
        elif not (tok == '(' and depth == 1 and not current and not arguments and toks[at - 1] != ','):
            current.append(tok)
        at += 1


def expand(toks, known):
    out, at = [], 0
    while at < len(toks):
        tok = toks[at]
        names, body = known.get(tok, (None, None))
        if body is None:
            out.append(tok)
            at += 1
        elif names is None:
            out += expand(body, {k: v for k, v in known.items() if k != tok})
            at += 1
        else:
            arguments, at = call_arguments(toks, at + 1)
            bound = dict(zip(names, arguments))
            replaced = [t for b in body for t in bound.get(b, [b])]
            out += expand(replaced, {k: v for k, v in known.items() if k != tok})
    return out


def entries(toks):
    """Splits `{a, b}, {c, d}` into [[a, b], [c, d]]; every field is a list of tokens."""
    rows, depth = [], 0
    for tok in toks:
        if tok == '{':
            depth += 1
            rows.append([[]])
        elif tok == '}':
            depth -= 1
            if depth < 0:
                return rows
        elif depth and tok == ',':
            rows[-1].append([])
        elif depth:
            rows[-1][-1].append(tok)
    return rows


def text_of(field):
    return ''.join(re.sub(r'\\(.)', r'\1', tok[1:-1]) for tok in field)


def words(field, prefix):
    return frozenset(tok[len(prefix):] for tok in field if tok.startswith(prefix))


def route_of(row, file):
    method, path, dialect, creds, scope, body, flags, handler, summary = row[:9]
    kinds = frozenset().union(*(CREDS[word] for word in words(creds, 'PX_CRED_')))
    name = ''.join(words(scope, 'PX_SCOPE_'))
    return Route(text_of(method), text_of(path), ''.join(words(dialect, 'PX_DIALECT_')), kinds,
                 name.lower().replace('_', ':'), ''.join(words(body, 'PX_BODY_')),
                 words(flags, 'PX_ROUTE_'), ''.join(handler), text_of(summary), file)


def tables():
    """table name -> its routes, over all of mod_pixshift/."""
    found = {}
    for file in sorted((SOURCE / 'mod_pixshift').rglob('*.c')):
        text = file.read_text()
        for match in TABLE.finditer(text):
            toks = expand(tokens(text[match.end():]), macros(text[:match.start()]))
            rows = [row for row in entries(toks) if row[0] != ['NULL']]
            assert rows, f'{file}: the table {match[1]} could not be read'
            found[match[1]] = [route_of(row, str(file.relative_to(SOURCE))) for row in rows]
    return found


def routes():
    return [route for table in tables().values() for route in table]


def aliases(listed):
    """(method, alias path) -> route, as the router makes them (C-1)."""
    taken = {(r.method, re.sub(r'\{\w+\}', '{}', r.path)) for r in listed}
    found = {}
    for route in listed:
        if route.path.startswith('/api/') and not route.path.startswith('/api/v1/') \
                and 'NO_V1_ALIAS' not in route.flags:
            path = '/api/v1/' + route.path[5:]
            if (route.method, re.sub(r'\{\w+\}', '{}', path)) not in taken:
                found[route.method, path] = route
    return found


FIELDS = re.compile(r'const\s+px_field\s+(\w+)\s*\[\s*\]\s*=\s*\{')


def number(field):
    text = ''.join(field)
    return int(text) if re.fullmatch(r'-?\d+', text) else None


def field_of(row):
    name, kind, required, low, high, choices = row[:6]
    return {'name': text_of(name), 'type': ''.join(words(kind, 'PX_F_')), 'required': required == ['true'],
            'min': number(low), 'max': number(high),
            'choices': text_of(choices).split('|') if choices != ['NULL'] else None}


def field_tables(file):
    """The px_field tables of one file: lists of dicts."""
    text = file.read_text()
    found = []
    for match in FIELDS.finditer(text):
        toks = expand(tokens(text[match.end():text.index(';', match.end())]), macros(text))
        found.append([field_of(row) for row in entries(toks) if row[0] != ['NULL']])
    return found


def handler_files():
    """handler -> the file that defines it"""
    found = {}
    for file in sorted((SOURCE / 'mod_pixshift').rglob('*.c')):
        for name in re.findall(r'^(?:static )?px_err \*(\w+)\(px_req \*req, px_reply \*reply\)\s*\{', file.read_text(), re.M):
            found.setdefault(name, file)
    return found
