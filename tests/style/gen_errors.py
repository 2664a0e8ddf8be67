#!/usr/bin/env python3
"""Writes docs/errors.md from mod_pixshift/base/error.def; `--check` only compares (exit 1 when stale)."""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TABLE = SOURCE / 'mod_pixshift/base/error.def'
PAGE = SOURCE / 'docs/errors.md'
ROW = re.compile(r'^PX_ERR\((\w+),\s*"([^"]+)",\s*"([^"]+)",\s*(\d+),\s*(\d+),\s*(\w+),\s*(\w+),\s*"((?:[^"\\]|\\.)*)"\)',
                 re.M)

HEAD = """# Errors

Made from `mod_pixshift/base/error.def` by `tests/style/gen_errors.py`; do not edit.

Replies of `/api` carry `{"success":false,"error":{code,message,category,details,requestId}}`, those of
`/api/v1` `{"error":{code,message,category,details,request_id},"detail":message}`, those of `/v1`
`{"error":{message,type,param,code}}`. The message below may be replaced by a more exact sentence;
validation errors name the field in `details.field`. The request id stands in the error log beside the cause.

Retry: *never* – repeating the same request cannot help; *later* – it may, after `Retry-After` seconds;
*auth* – with new credentials; *pay* – after credits were added.

| error | `/api` | `/api/v1`, `/v1` | category | retry | message |
|---|---|---|---|---|---|
"""


def page():
    text = TABLE.read_text()
    rows = ROW.findall(text)
    assert len(rows) == len(re.findall(r'^PX_ERR\(', text, re.M)), 'error.def has a row that cannot be read'
    lines = [f'| {name} | {status} `{code}` | {v1_status} `{v1_code}` | {category} | {retry.lower()} | {says} |'
             for name, code, v1_code, status, v1_status, category, retry, says in rows]
    return HEAD + '\n'.join(lines) + '\n'


def test_errors_page_is_current():
    assert PAGE.read_text() == page(), 'docs/errors.md is stale: run tests/style/gen_errors.py'


if __name__ == '__main__':
    if sys.argv[1:] == ['--check']:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text() == page() else 'docs/errors.md is stale')
    PAGE.write_text(page())
