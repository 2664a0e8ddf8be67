"""Replies against docs/openapi.yaml.

    check('GET', '/api/v1/credits', 200, headers, body)

finds the operation behind a concrete path (also under an alias, C-1) and raises AssertionError with the
fault's place when the status, the type or the body is not what the document promises. Stricter than the
document in one point: members that it does not list are faults, so that it stays complete."""
import functools
import json
import re

import jsonschema

import openapi

RATE_HEADERS = {'X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset', 'RateLimit', 'RateLimit-Policy'}


def closed(schema, inside_all_of=False):
    """The schema with additionalProperties false wherever an object lists its members."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key == 'allOf':
            made[key] = [closed(item, True) for item in value]
        elif inside_all_of:
            made[key] = value
        elif key in ('properties', 'patternProperties', '$defs'):
            made[key] = {name: closed(item) for name, item in value.items()}
        else:
            made[key] = closed(value) if key not in ('enum', 'const', 'default', 'example') else value
    if 'properties' in schema and not inside_all_of:
        made.setdefault('additionalProperties', False)
    return made


def pattern_of(path):
    """(order, regular expression): static segments beat parameters, these beat the rest of a path."""
    order, text = [], ''
    for segment in path.strip('/').split('/'):
        rest = segment == '{key}'
        parameter = segment.startswith('{')
        order.append(2 if rest else 1 if parameter else 0)
        text += '/' + ('.+' if rest else '[^/]+' if parameter else re.escape(segment))
    return order, re.compile(text)


class Contract:
    def __init__(self):
        self.document = openapi.load()
        self.operations = openapi.operations(self.document)
        self.schemas = {name: closed(schema) for name, schema in self.document['components']['schemas'].items()}
        self.paths = sorted(((*pattern_of(path), path) for path in self.served()), key=lambda row: row[0])
        self.first = {path.split('/')[1] for path in self.document['paths']}

    def served(self):
        """Documented paths and the aliases of C-1."""
        known = {openapi.shape(path): path for path in self.document['paths']}
        self.alias = {}
        for (method, path), operation in self.operations.items():
            if path.startswith('/api/') and not path.startswith('/api/v1/') and not operation.get('x-no-alias'):
                other = '/api/v1/' + path[5:]
                other = known.get(openapi.shape(other), other)
                if (method, other) not in self.operations:
                    self.alias[method, other] = operation
        return {*known.values(), *(path for _, path in self.alias)}

    def templates(self, path):
        return [template for _, expression, template in self.paths if expression.fullmatch(path)]

    def find(self, method, path):
        """The operation, or None; HEAD is served by GET."""
        method = 'GET' if method == 'HEAD' else method
        for template in self.templates(path):
            found = self.operations.get((method, template)) or self.alias.get((method, template))
            if found:
                return found
        return None

    def ours(self, path):
        return path.split('/')[1] in self.first

    @functools.lru_cache(maxsize=None)
    def validator(self, text):
        schema = {**closed(json.loads(text)), 'components': {'schemas': self.schemas}}
        return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    def validate(self, schema, body, where):
        faults = sorted(self.validator(json.dumps(schema)).iter_errors(body), key=lambda e: list(e.absolute_path))
        if faults:
            worst = jsonschema.exceptions.best_match(faults)
            place = '/'.join(str(p) for p in worst.absolute_path) or 'the body'
            raise AssertionError(f'{where}: {place}: {worst.message[:500]}')


@functools.lru_cache(maxsize=None)
def contract():
    return Contract()


def unmatched(known, method, path, status, where):
    """What the router itself answers."""
    prefix = 'V1' if path.startswith('/api/v1/') else ''
    if path.startswith('/v1/'):
        return {'application/json': {'schema': {'$ref': '#/components/schemas/ErrorOpenAI'}}}
    if method == 'OPTIONS' and status == 204:
        return {}
    exists = bool(known.templates(path))
    fine = {429, 503} | ({404} if not exists else {404, 405})
    assert status in fine, f'{where}: no such operation is documented'
    return openapi.resolve(known.document, {'$ref': f'#/components/responses/Error{prefix}{status}'})['content']


def check(method, path, status, headers, body):
    """`headers`: a mapping without regard to case. `body`: bytes or None when it was not read."""
    known = contract()
    path = path.split('?')[0].split('#')[0]
    if not known.ours(path):
        return
    where = f'{method} {path} -> {status}'
    operation = known.find(method, path)
    if operation:
        response = operation['responses'].get(str(status))
        assert response, f'{where}: {operation["operationId"]} documents only {sorted(operation["responses"])}'
        response = openapi.resolve(known.document, response)
        content = response.get('content', {})
        for name in response.get('headers', {}):
            needed = name == 'X-Request-Id' or (status >= 400 and name in ('Allow', 'WWW-Authenticate'))
            assert not needed or name in headers, f'{where}: the header {name} is missing'
    else:
        content = unmatched(known, method, path, status, where)
    kind = headers.get('Content-Type', '').split(';')[0].strip().lower()
    if not content or method == 'HEAD':
        assert not body, f'{where}: a body where none is documented'
        return
    media = content.get(kind)
    assert media is not None, f'{where}: type {kind!r} where {sorted(content)} is documented'
    if body is not None and kind == 'application/json' and 'schema' in media:
        known.validate(media['schema'], json.loads(body), where)


def check_request(method, path, sent):
    """A JSON body that was accepted must be one that the document allows; null is the same as absent."""
    known = contract()
    path = path.split('?')[0]
    operation = known.find(method, path) if known.ours(path) else None
    media = (operation or {}).get('requestBody', {}).get('content', {}).get('application/json')
    if media and isinstance(sent, dict):
        given = {name: value for name, value in sent.items() if value is not None}
        known.validate(media['schema'], given, f'{method} {path}: the body that was accepted')
