"""docs/directives.md says what the code knows."""
import re
import subprocess
import sys

import gen_directives


def test_page_is_up_to_date():
    done = subprocess.run([sys.executable, gen_directives.__file__, '--check'], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_directive_has_an_example_that_names_it():
    for row in gen_directives.rows():
        example = gen_directives.EXAMPLES.get(row['name']) or row['default']
        assert example, f"{row['name']} has neither default nor example"


def test_list_directives_are_those_of_the_module():
    source = (gen_directives.SOURCE / 'mod_pixshift/apache/directives.c').read_text()
    known = set(re.findall(r'AP_INIT_TAKE_ARGV\("(\w+)"', source))
    assert known == {entry[0] for entry in gen_directives.LISTS if re.fullmatch(r'PixShift\w+', entry[0])}
