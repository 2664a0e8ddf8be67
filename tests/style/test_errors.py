"""docs/errors.md says what error.def says."""
from gen_errors import test_errors_page_is_current  # noqa: F401
