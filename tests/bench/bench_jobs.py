#!/usr/bin/env python3
"""No-op jobs per second end to end, ledger on (hold, claim, capture, events), against graphile-worker's
defaults on the same PostgreSQL.  Goal: at least twice as many."""
import subprocess
import tempfile
import time

from common import interleaved, node_peer, report
from pixshift import Server, wait_for

JOBS, ROUNDS, USERS = 20000, 3, 50

PEER = '''
const { run } = require('graphile-worker');
const { Pool } = require('pg');
(async () => {
  const pool = new Pool({ connectionString: process.argv[2], max: 12 });
  const total = Number(process.argv[3]);
  let done = 0, first = 0n;
  let finish; const all = new Promise((resolve) => { finish = resolve; });
  const runner = await run({ pgPool: pool, concurrency: 10, noHandleSignals: true, logger: undefined,
    taskList: { noop: async () => { if (!first) first = process.hrtime.bigint(); if (++done === total) finish(); } } });
  await all;
  console.log(Number(process.hrtime.bigint() - first) / 1e9);
  await runner.stop(); await pool.end();
})();
'''


def ours(server, users):
    """Jobs are made while no worker runs; the time is from the first claim to the last end."""
    server.sql('SELECT pixshift.bench_noop_jobs(%s::uuid[], %s)', [users, JOBS])
    worker = subprocess.Popen([str(server.prefix / 'libexec/pixshift/pixshift-worker'), '--config', str(server.export())],
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: server.value("SELECT count(*) FROM pixshift.jobs WHERE state IN ('queued','running')") == 0,
                 120, 0.1, 'the end of the jobs')
        seconds = float(server.value(
            "SELECT extract(epoch FROM max(completed_at) - min(started_at)) FROM pixshift.jobs"
            " WHERE operation = 'noop' AND state = 'succeeded'"))
        assert server.violations() == []
        return JOBS / seconds
    finally:
        worker.terminate()
        worker.wait(20)
        server.sql("UPDATE pixshift.jobs SET operation = 'noop_old' WHERE operation = 'noop'")


def peer(server, folder):
    server.sql('DROP SCHEMA IF EXISTS graphile_worker CASCADE')
    subprocess.run(['npx', 'graphile-worker', '--schema-only', '-c', server.url_dsn], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    server.sql("SELECT graphile_worker.add_job('noop', '{}') FROM generate_series(1, %s)", [JOBS])
    out = subprocess.run(['node', 'peer.js', server.url_dsn, str(JOBS)], cwd=folder, check=True,
                         capture_output=True, text=True).stdout
    return JOBS / float(out.split()[-1])
