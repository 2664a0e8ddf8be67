#!/usr/bin/env python3
"""No-op jobs per second end to end, ledger on (hold, claim, capture, events), against graphile-worker's
defaults on the same PostgreSQL.  From the first claim to the last end.  Goal: at least twice as many."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from common import interleaved, node_peer, report
from pixshift import PREFIX, Server, wait_for

JOBS, ROUNDS, USERS = 10000, 3, 50

PEER = '''
const { run, runMigrations } = require('graphile-worker');
const { Pool } = require('pg');
const [host, user, database, total] = process.argv.slice(2);
(async () => {
  const pool = new Pool({ host, user, database, max: 12 });
  const count = Number(total);
  await runMigrations({ pgPool: pool });
  await pool.query("SELECT graphile_worker.add_job('noop', '{}') FROM generate_series(1, $1::int)", [count]);
  let done = 0, first = 0n, finish;
  const all = new Promise((resolve) => { finish = resolve; });
  const runner = await run({ pgPool: pool, concurrency: 10, noHandleSignals: true, taskList: {
    noop: async () => { if (!first) first = process.hrtime.bigint(); if (++done === count) finish(); } } });
  await all;
  console.log('SECONDS ' + Number(process.hrtime.bigint() - first) / 1e9);
  await runner.stop();
  await pool.end();
})().catch((error) => { console.error(error); process.exit(1); });
'''


MAKE = '''
SELECT count(*) FROM generate_series(1, %s) n, LATERAL pixshift.job_create(
    pixshift.uuid7(), (%s::uuid[])[1 + n %% %s], 'noop', NULL, '{}', '', '[]', 'ephemeral', 1, 'any', NULL, NULL, NULL,
    1000000, '[]', 3600000, 3, 5) j'''


def ours(server, users, config):
    """Jobs are made while no worker runs."""
    server.sql(MAKE, [JOBS, users, len(users)])
    server.sql('ANALYZE pixshift.jobs, pixshift.holds')
    worker = subprocess.Popen([str(PREFIX / 'libexec/pixshift/pixshift-worker'), '--config', str(config)],
                              stderr=open(server.dir / 'log/worker.log', 'ab'))
    try:
        wait_for(lambda: server.value("SELECT count(*) FROM pixshift.jobs WHERE state IN ('queued','running')") == 0,
                 120, 0.2, 'the end of the jobs')
        seconds = float(server.value(
            "SELECT extract(epoch FROM max(completed_at) - min(started_at)) FROM (SELECT * FROM pixshift.jobs"
            " WHERE operation = 'noop' ORDER BY created_at DESC LIMIT %s) j WHERE state = 'succeeded'", [JOBS]))
        return JOBS / seconds
    finally:
        worker.terminate()
        worker.wait(20)


def theirs(server, folder):
    server.sql('DROP SCHEMA IF EXISTS graphile_worker CASCADE')
    out = subprocess.run(['node', 'peer.js', server.pg.socket, server.pg.superuser, 'pixshift', str(JOBS)], cwd=folder,
                         check=True, capture_output=True, text=True).stdout
    return JOBS / float(re.search(r'SECONDS ([\d.]+)', out).group(1))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        peer = node_peer(folder / 'node', 'graphile-worker', 'pg')
        if peer is None:
            sys.exit('npm is missing: no peer to compare with')
        (peer / 'peer.js').write_text(PEER)
        with Server(folder / 'px', worker='off') as server:
            users = [server.sign_up() for _ in range(USERS)]
            for user in users:
                server.grant(user, 1000000)
            config = folder / 'settings.json'
            config.write_text(server.ctl('config', 'export').stdout)
            figures = interleaved(ROUNDS, pixshift=lambda: ours(server, [u.id for u in users], config),
                                  graphile=lambda: theirs(server, peer))
            assert server.violations() == []
            report(f'{JOBS} no-op jobs, ledger on', figures, 'pixshift', 'graphile', 'jobs/s', 2.0)


if __name__ == '__main__':
    os.environ.setdefault('NODE_OPTIONS', '')
    main()
