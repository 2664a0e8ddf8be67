#!/usr/bin/env python3
"""An API-key-authenticated, rate-checked GET against a bare SetHandler handler of the same httpd that
answers the same number of bytes.  Goal: at least 1.2 times its requests per second."""
import os
import pathlib
import tempfile

from common import interleaved, report, wrk
from pixshift import Server

ROUNDS = 5


def main():
    module = pathlib.Path(os.environ['PIXSHIFT_BUILD']) / 'tests/bench/.libs/mod_bare.so'
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Server(folder, servers=2, threads=64, load=f'LoadModule bare_module "{module}"',
                    extra='<Location "/bare">\n    SetHandler bare\n</Location>\nExtendedStatus Off\n', access_log=False) as server:
            key = server.sign_up().with_key()
            path = '/api/transformation-types'
            body = key.get(path)
            assert body.status_code == 200, body.text
            bare = f'{server.url}/bare?{len(body.content)}'
            figures = interleaved(
                ROUNDS,
                pixshift=lambda: wrk(server.url + path, {'x-api-key': key.headers['x-api-key']}),
                bare=lambda: wrk(bare))
            report('authenticated GET', figures, 'pixshift', 'bare', 'requests/s', 1.2)


if __name__ == '__main__':
    main()
