"""One shared server per module that asks for it; its error log is checked at the end."""
import pytest

from pixshift import Server


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp('px')) as running:
        yield running


@pytest.fixture
def user(server):
    return server.sign_up()
