#!/usr/bin/env python3
"""hold + capture through px_db against pgbench running the same two statements on the same server.
Goal: at least 0.9 of its pairs per second.

usage: bench_ledger.py [--clients N] [--seconds N] [--rounds N]
PIXSHIFT_BUILD names the build folder; there `make tests/bench/bench_ledger` made the driver."""
import argparse
import os
import pathlib
import re
import subprocess
import tempfile

from common import interleaved, report
from pg import PrivatePostgres, bindir

SCRIPT = r"""
\set n random(1, 1000)
SELECT pixshift.credit_hold(md5('bench:' || :n::text)::uuid, 1, 'transformation', gen_random_uuid()::text) AS hold \gset
SELECT pixshift.credit_capture(:hold, 1, 'job', 'bench');
"""
# Only the ledger is measured: a table of users as small as it needs.
USERS = "CREATE TABLE pixshift.users (id uuid PRIMARY KEY)"
FILL = """
UPDATE pixshift.credit_profile SET lifetime_free = 0, daily_free = 0;
INSERT INTO pixshift.users SELECT md5('bench:' || n)::uuid FROM generate_series(1, 1000) n;
SELECT count(pixshift.credit_init_user(id)) FROM pixshift.users;
SELECT count(pixshift.credit_grant(id, 'purchase', 100000000, 'any', NULL, 'bench:' || id, NULL, NULL, NULL))
  FROM pixshift.users;
ANALYZE;
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--clients', type=int, default=8)
    parser.add_argument('--seconds', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    driver = pathlib.Path(os.environ.get('PIXSHIFT_BUILD', '.')) / 'tests/bench/bench_ledger'
    with tempfile.TemporaryDirectory(prefix='pxbench') as folder, \
            PrivatePostgres(os.path.join(folder, 'pg')) as server:
        dsn = server.createdb('bench')
        server.migrate('bench', before={3: USERS}, only={1, 3, 7})
        server.psql('bench', FILL)
        script = pathlib.Path(folder) / 'pair.sql'
        script.write_text(SCRIPT)

        def through_px_db():
            out = subprocess.run([driver, dsn, str(args.clients), str(args.seconds)], capture_output=True,
                                 text=True, check=True).stdout
            return float(out)

        def pgbench():
            command = [os.path.join(bindir(), 'pgbench'), '-n', '-M', 'prepared', '-c', str(args.clients),
                       '-j', str(args.clients), '-T', str(args.seconds), '-f', str(script), dsn]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            return float(re.search(r'^tps = ([\d.]+)', out, re.M).group(1))

        for check in ('off', 'on'):
            server.psql('bench', f'ALTER DATABASE bench SET pixshift.credit_check = {check}')
            figures = interleaved(args.rounds, px_db=through_px_db, pgbench=pgbench)
            report(f'hold + capture, {args.clients} clients, 1000 users, check at commit {check}', figures,
                   'px_db', 'pgbench', 'pairs/s', 0.9)
        assert server.psql('bench', 'SELECT * FROM pixshift.ledger_verify()') == ''


if __name__ == '__main__':
    main()
