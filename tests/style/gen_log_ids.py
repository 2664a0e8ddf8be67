#!/usr/bin/env python3
"""Writes docs/log-ids.md, the index of docs/log-ids/*.md; `--check` only compares (exit 1 when stale).
A page's first heading is `# Area (PXS1000–PXS1099)`."""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FOLDER = SOURCE / 'docs/log-ids'
PAGE = SOURCE / 'docs/log-ids.md'
HEADING = re.compile(r'^# (?P<area>.+) \((?P<ids>PXS\d{4}.*)\)$', re.M)

HEAD = """# Log ids

Made from the headings of `docs/log-ids/*.md` by `tests/style/gen_log_ids.py`; do not edit.

Every line that PixShift writes into httpd's error log or the worker's begins with an id, `PXS4000: …`. The
pages of the areas say what each one means and what to do. `error`, `warn` and `notice` are always written; `LogLevel
pixshift:info` shows the rest. What a request caused ends with its request id, which the reply carries too.

| ids | area |
|---|---|
"""


def page():
    rows = []
    for path in FOLDER.glob('*.md'):
        found = HEADING.search(path.read_text())
        assert found, f'{path.name}: the first heading must be like "# Area (PXS1000–PXS1099)"'
        rows.append((found['ids'], found['area'], path.name))
    return HEAD + ''.join(f'| {ids} | [{area}](log-ids/{name}) |\n' for ids, area, name in sorted(rows))


if __name__ == '__main__':
    if sys.argv[1:] == ['--check']:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text() == page() else 'docs/log-ids.md is stale')
    PAGE.write_text(page())
