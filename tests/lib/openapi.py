"""docs/openapi.yaml as data: references resolved, operations by method and path."""
import pathlib
import re

import yaml

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGE = SOURCE / 'docs/openapi.yaml'
METHODS = {'get', 'put', 'post', 'delete', 'patch'}


class Unique(yaml.CSafeLoader if hasattr(yaml, 'CSafeLoader') else yaml.SafeLoader):
    """YAML lets a key be given twice; the second one would hide the first in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f'{PAGE.name}, line {node.start_mark.line + 1}: twice: {sorted(twice)}'
        return super().construct_mapping(node, deep)


def load():
    with open(PAGE, encoding='utf-8') as page:
        return yaml.load(page, Loader=Unique)


def resolve(document, item):
    """Follows $ref until there is none."""
    while isinstance(item, dict) and '$ref' in item:
        target = document
        for part in item['$ref'].removeprefix('#/').split('/'):
            target = target[part]
        item = target
    return item


def references(item):
    if isinstance(item, dict):
        for key, value in item.items():
            if key == '$ref' and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(item, list):
        for value in item:
            yield from references(value)


def operations(document):
    """(METHOD, path) -> operation"""
    return {(method.upper(), path): operation for path, item in document['paths'].items()
            for method, operation in item.items() if method in METHODS}


def parameters(document, operation):
    return [resolve(document, p) for p in operation.get('parameters', [])]


def shape(path):
    """A path with nameless parameters; `{rest*}` counts as one."""
    return re.sub(r'\{\w+\*?\}', '{}', path)
