"""docs/openapi.yaml says what the route tables, the validation and error.def say."""
import re

import jsonschema
import pytest

import openapi
import routes
from gen_errors import ROW, TABLE

DOCUMENT = openapi.load()
OPERATIONS = openapi.operations(DOCUMENT)
ROUTES = {(r.method, r.path.replace('*}', '}')): r for r in routes.routes()}
SCHEMES = {'cookieSession': 'COOKIE', 'bearerSession': 'SESSION', 'bearerJwt': 'JWT', 'apiKey': 'KEY',
           'bearerKey': 'KEY', 'csrfToken': None}
BODIES = {'NONE': set(), 'JSON': {'application/json'}, 'MULTIPART': {'multipart/form-data'},
          'JSON_OR_MULTIPART': {'application/json', 'multipart/form-data'}}
ERRORS = [(name, {'': (code, int(status)), 'V1': (v1_code, int(v1_status))}, category)
          for name, code, v1_code, status, v1_status, category, retry, text in ROW.findall(TABLE.read_text())]
HANDLERS = routes.handler_files()
READ_BY_HTTP = {'page', 'limit', 'wait', 'last_event_id'}       # px_validate_query lets them pass
BOTH = sorted(OPERATIONS.keys() & ROUTES.keys())


def label(key):
    return ' '.join(key)


def test_every_route_is_documented():
    missing = sorted(label(key) for key in ROUTES.keys() - OPERATIONS.keys())
    assert not missing, f'docs/openapi.yaml lacks {missing}'


def test_every_documented_operation_exists():
    extra = sorted(label(key) for key in OPERATIONS.keys() - ROUTES.keys())
    assert not extra, f'docs/openapi.yaml has what no route table has: {extra}'


def test_no_alias_is_documented_twice():
    """C-1: automatic aliases are described in the text."""
    aliases = {(method, openapi.shape(path)) for method, path in routes.aliases(list(ROUTES.values()))}
    listed = {(method, openapi.shape(path)) for method, path in OPERATIONS}
    assert not aliases & listed


def test_every_table_is_served():
    """A table that no host hands to the router answers 404 for all that it promises."""
    text = ''.join(p.read_text() for p in (routes.SOURCE / 'mod_pixshift').rglob('*routes.c'))
    lost = [name for name in routes.tables() if not re.search(rf'(?<!extern const px_route )\b{name}\b(?!\[\])', text)]
    assert not lost, f'no list of tables names {lost}'


@pytest.mark.parametrize('key', BOTH, ids=label)
def test_operation_agrees_with_its_route(key):
    operation, route = OPERATIONS[key], ROUTES[key]
    kinds = {SCHEMES[name] for option in operation['security'] for name in option} - {None}
    if not operation['security'] or {} in operation['security']:
        kinds.add('NONE')
    assert kinds == route.creds, 'security'
    writes = route.method not in ('GET', 'HEAD')
    for option in operation['security']:
        assert ('csrfToken' in option) == (writes and 'cookieSession' in option), 'anti-forgery token'
    assert operation.get('x-scope', '') == route.scope, 'x-scope'
    assert (operation.get('x-role') == 'admin') == ('ADMIN' in route.flags), 'x-role'
    assert operation['summary'] == route.summary, 'summary'
    content = operation.get('requestBody', {}).get('content', {})
    assert set(content) == BODIES[route.body], 'kind of body'
    names = {(p['name'], p['in']) for p in openapi.parameters(DOCUMENT, operation)}
    assert (('Idempotency-Key', 'header') in names) == ('CREATES' in route.flags), 'Idempotency-Key'
    in_path = set(re.findall(r'\{(\w+)\}', key[1]))
    assert {name for name, where in names if where == 'path'} == in_path, 'path parameters'
    native = key[1].startswith('/api/') and not key[1].startswith('/api/v1/')
    assert bool(operation.get('x-no-alias')) == (native and 'NO_V1_ALIAS' in route.flags), 'x-no-alias'


@pytest.mark.parametrize('key', BOTH, ids=label)
def test_operation_speaks_its_dialect(key):
    operation, route = OPERATIONS[key], ROUTES[key]
    suffix = 'V1' if route.dialect == 'TRAILROOM' else ''
    responses = operation['responses']
    assert any(status.startswith(('2', '3')) for status in responses)
    for status, response in responses.items():
        if status >= '400' and 'OPENAI' not in route.dialect:
            assert response == {'$ref': f'#/components/responses/Error{suffix}{status}'}
    assert operation['operationId'].endswith('V1') == bool(suffix)
    wanted = set() if 'NO_RATE' in route.flags else {'400', '429', '500', '503'}
    if route.creds != {'NONE'}:
        wanted |= {'401', '403'}
    if 'CREATES' in route.flags:
        wanted |= {'409', '422'}
    if route.body != 'NONE':
        wanted |= {'415', '413'} if suffix else {'415'}
    assert not wanted - set(responses), f'statuses {sorted(wanted - set(responses))}'
    for media in operation.get('requestBody', {}).get('content', {}).values():
        for member in openapi.resolve(DOCUMENT, media['schema']).get('properties', {}):
            assert '_' not in member if not suffix else member == member.lower(), member


def test_request_bodies_refuse_unknown_fields():
    for key, operation in OPERATIONS.items():
        for media in operation.get('requestBody', {}).get('content', {}).values():
            schema = openapi.resolve(DOCUMENT, media['schema'])
            assert schema.get('additionalProperties') is False, label(key)


def spelled(name, route):
    return name if route.dialect != 'PIXSHIFT' else re.sub(r'_(\w)', lambda m: m[1].upper(), name)


def differs(schema, field):
    """What a documented member says otherwise than the C table; a narrower enum is fine."""
    schema = openapi.resolve(DOCUMENT, schema)
    kind = {'INT': 'integer', 'BOOL': 'boolean', 'OBJECT': 'object'}.get(field['type'], 'string')
    if schema.get('type') != kind:
        return f'type {kind}'
    if field['choices'] and schema.get('enum') != field['choices']:
        return f"choices {field['choices']}"
    if 'enum' in schema or field['type'] in ('IMAGE', 'BOOL', 'OBJECT', 'UUID'):
        return 'format uuid' if field['type'] == 'UUID' and schema.get('format') != 'uuid' else None
    low, high = ('minimum', 'maximum') if kind == 'integer' else ('minLength', 'maxLength')
    if field['type'] == 'EMAIL':
        return None if schema.get('format') == 'email' and schema.get(high) == field['max'] else 'email'
    if (schema.get(low), schema.get(high)) != (field['min'], field['max']):
        return f"{field['min']} to {field['max']}"
    return None


def closest(tables, names, required, route):
    """The table with exactly these names and duties, as a dict by spelled name."""
    for table in tables:
        made = {spelled(field['name'], route): field for field in table}
        if set(made) == names and {n for n, f in made.items() if f['required']} == required:
            return made
    return None


@pytest.mark.parametrize('key', BOTH, ids=label)
def test_input_is_what_the_handler_reads(key):
    operation, route = OPERATIONS[key], ROUTES[key]
    tables = [*routes.field_tables(HANDLERS[route.handler]), []]
    for media in operation.get('requestBody', {}).get('content', {}).values():
        schema = openapi.resolve(DOCUMENT, media['schema'])
        table = closest(tables, set(schema['properties']), set(schema.get('required', [])), route)
        assert table is not None, f"no px_field table reads {schema['properties']}"
        faults = {n: differs(s, table[n]) for n, s in schema['properties'].items()}
        assert not {n: f for n, f in faults.items() if f}, faults
    query = {p['name']: p['schema'] for p in openapi.parameters(DOCUMENT, operation)
             if p['in'] == 'query' and p['name'] not in READ_BY_HTTP}
    table = closest(tables, set(query), set(), route)
    assert table is not None, f'no px_field table reads {sorted(query)}'
    faults = {n: differs(s, table[n]) for n, s in query.items()}
    assert not {n: f for n, f in faults.items() if f}, faults


@pytest.mark.parametrize('suffix', ['', 'V1'])
def test_error_codes_are_those_of_the_table(suffix):
    schema = DOCUMENT['components']['schemas'][f'Error{suffix}']['properties']['error']['properties']
    assert set(schema['code']['enum']) == {codes[suffix][0] for _, codes, _ in ERRORS}
    assert set(schema['category']['enum']) == {category for *_, category in ERRORS}
    by_status = {}
    for _, codes, _ in ERRORS:
        by_status.setdefault(codes[suffix][1], set()).add(codes[suffix][0])
    documented = {}
    for name, response in DOCUMENT['components']['responses'].items():
        found = re.fullmatch(rf'Error{suffix}(\d+)', name)
        if found:
            parts = response['content']['application/json']['schema']['allOf']
            assert parts[0] == {'$ref': f'#/components/schemas/Error{suffix}'}
            documented[int(found[1])] = set(parts[1]['properties']['error']['properties']['code']['enum'])
    assert documented == by_status


def test_schemas_are_valid():
    components = DOCUMENT['components']
    for name, schema in components['schemas'].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert set(schema.get('required', [])) <= set(schema.get('properties', {})), name
        snake = name.endswith('V1')
        assert not (snake and re.search(r"'[a-z]+[A-Z]\w*': \{", str(schema.get('properties')))), name
    for key, operation in OPERATIONS.items():
        for p in openapi.parameters(DOCUMENT, operation):
            jsonschema.Draft202012Validator.check_schema(p['schema'])
            assert p['in'] in ('query', 'header', 'path', 'cookie'), label(key)
            assert p.get('required') or p['in'] != 'path', label(key)


def test_document_is_openapi():
    assert re.fullmatch(r'3\.1\.\d+', DOCUMENT['openapi'])
    assert {'title', 'version'} <= set(DOCUMENT['info'])
    assert set(DOCUMENT) <= {'openapi', 'info', 'servers', 'tags', 'paths', 'components'} | {
        key for key in DOCUMENT if key.startswith('x-')}
    ids = [operation['operationId'] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids)), 'operationIds repeat'
    tags = {tag['name'] for tag in DOCUMENT['tags']}
    schemes = DOCUMENT['components']['securitySchemes']
    for key, operation in OPERATIONS.items():
        assert set(operation['tags']) <= tags, label(key)
        assert all(name in schemes for option in operation['security'] for name in option), label(key)
        assert all(openapi.resolve(DOCUMENT, r).get('description') for r in operation['responses'].values())
    shapes = [openapi.shape(path) for path in DOCUMENT['paths']]
    assert len(shapes) == len(set(shapes)), 'two paths differ in a parameter name only'


def test_references_resolve_and_nothing_is_unused():
    used = set(openapi.references(DOCUMENT))
    for target in used:
        openapi.resolve(DOCUMENT, {'$ref': target})
    everywhere = {'Error405', 'ErrorV1405', 'ErrorOpenAI'}      # see info.description
    for kind, items in DOCUMENT['components'].items():
        if kind != 'securitySchemes':
            unused = {name for name in items if f'#/components/{kind}/{name}' not in used} - everywhere
            assert not {n for n in unused if not re.fullmatch(r'Error(V1)?\d+', n)}, f'{kind}: {unused}'
