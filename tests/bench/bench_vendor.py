#!/usr/bin/env python3
"""200 jobs in flight against a vendor that takes 2 seconds and answers with 1 MB: how long, and how much
memory the worker needs at most.  Goal: at most 60 MB."""
import io
import os
import pathlib
import tempfile
import threading
import time

from PIL import Image

from common import SOURCE  # noqa: F401  (puts tests/lib on the path)
import template_plugin
from pixshift import PREFIX, Server, photo, wait_for
from vendor import KEY, Vendor

JOBS, SECONDS = 200, 2.0


def noise():
    out = io.BytesIO()
    Image.frombytes('RGB', (600, 580), os.urandom(600 * 580 * 3)).save(out, 'PNG', compress_level=0)
    return out.getvalue()


def resident_mb(pid, field='VmRSS'):
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    picture = noise()
    with tempfile.TemporaryDirectory() as name, Vendor(picture, SECONDS) as vendor:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / 'key').write_text(KEY)
        (folder / 'key').chmod(0o600)
        extra = f'''
<PixShiftPlugin painter {template_plugin.build(folder, PREFIX)}>
    ApiKey  file:{folder / 'key'}
    BaseURL {vendor.url}
</PixShiftPlugin>
PixShiftFreeDaily 1000
'''
        with Server(folder / 'px', extra=extra, providers={'generation': 'painter'}) as server:
            user = server.sign_up()
            worker, = server.worker_pids()
            before = resident_mb(worker)
            start = time.monotonic()
            for number in range(JOBS):
                reply = user.post('/api/v1/generate', json={'prompt': f'picture number {number}'})
                assert reply.status_code == 202, reply.text
            created = time.monotonic() - start
            wait_for(lambda: server.value("SELECT count(*) FROM pixshift.jobs WHERE state = 'succeeded'") == JOBS, 180, 0.1)
            took = time.monotonic() - start
            peak = resident_mb(worker, 'VmHWM')
            print(f'{JOBS} jobs, vendor {SECONDS:.0f} s, answers of {len(picture) / 1e6:.2f} MB:'
                  f' created in {created:.1f} s, all done after {took:.1f} s; at most {vendor.most_open} at once;'
                  f' worker {before:.0f} MB at start, {peak:.0f} MB at its peak (goal <= 60 MB:'
                  f' {"reached" if peak <= 60 else "NOT reached"})')


if __name__ == '__main__':
    main()
