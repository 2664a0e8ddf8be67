"""Pages link to what exists, and every page can be found from an index."""
import re

import pytest

import gen_log_ids

SOURCE = gen_log_ids.SOURCE
PAGES = sorted([SOURCE / 'README.md', *(SOURCE / 'docs').rglob('*.md'), *(SOURCE / 'plugins').rglob('*.md')])
LINK = re.compile(r'(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)')


def links(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    return [target.split('#')[0] for target in LINK.findall(text) if not re.match(r'\w+:|#', target)]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_links_lead_somewhere(page):
    broken = [target for target in links(page) if not (page.parent / target).exists()]
    assert not broken, broken


@pytest.mark.parametrize('index, folder', [('docs/internals/README.md', 'docs/internals'),
                                           ('docs/log-ids.md', 'docs/log-ids')])
def test_indexes_are_complete(index, folder):
    index = SOURCE / index
    listed = {(index.parent / target).resolve() for target in links(index)}
    missing = sorted(p.name for p in (SOURCE / folder).glob('*.md') if p.resolve() not in listed | {index.resolve()})
    assert not missing, f'{index.name} does not list {missing}'


def test_every_folder_has_a_page():
    folders = {p.name for p in (SOURCE / 'mod_pixshift').iterdir() if list(p.glob('*.c'))}
    assert not folders - {p.stem for p in (SOURCE / 'docs/internals').glob('*.md')}


def test_log_id_index_is_current():
    assert gen_log_ids.PAGE.read_text() == gen_log_ids.page(), 'docs/log-ids.md is stale: run tests/style/gen_log_ids.py'
