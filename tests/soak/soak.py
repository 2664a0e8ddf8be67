#!/usr/bin/env python3
"""soak.py [--minutes N] [--threads N] [--folder DIR]: a server under load for a while.

The first half is calm: what httpd's children and the worker hold in memory and descriptors is taken after
a fifth of it and at its end. In the second half processes are killed, httpd is restarted gracefully and
PostgreSQL's connections are cut. Then every accepted job must have ended once, the ledger must agree, and
no file may be left that nobody knows.

Exit status 1 when something of that is not so, or when memory or descriptors grew beyond --grow-kib and
--grow-fds. Environment: PIXSHIFT_PREFIX, PIXSHIFT_BUILD as for the end-to-end tests."""
import argparse
import collections
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'lib'), str(HERE.parent / 'e2e')]

import requests                                                 # noqa: E402  (its modules are found now)
from pixshift import Server, photo, wait_for                    # noqa: E402
from test_crash import EXPECTED, Load, long_lived, stray_files  # noqa: E402

EXTRA = '''PixShiftHelpers 2
PixShiftJobClaims 100
PixShiftDeleteAfterDownload 10s
'''
TYPES = ['Vivid Colours', 'Sepia', 'Pencil Sketch']
ENDED = "state IN ('succeeded', 'failed', 'canceled', 'expired')"
Sample = collections.namedtuple('Sample', 'kind kib fds')


# ---- load --------------------------------------------------------------------------------------

class Client(Load):
    """One user who goes on making jobs, waits for them in every way there is, fetches results, and
    cancels now and then."""

    def __init__(self, server, seed, stop):
        super().__init__(server, long_lived(server), 0)
        self.dice, self.stop, self.tried = random.Random(seed), stop, collections.Counter()
        self.key = self.user.with_key() if 'api_key' in self.user.info else self.user
        self.user = self.key

    def create(self, number, body):
        """A killed child of httpd leaves its Idempotency-Key claimed for a minute: be patient for two."""
        super().create(number, body)
        if number not in self.jobs and self.faults and self.faults[-1].startswith(f'{number}: no answer'):
            self.faults.pop()
            super().create(number, body)

    def go(self):
        number = 0
        bodies = None
        while not self.stop.is_set():
            try:
                if bodies is None or number % 50 == 0:
                    image = self.image()
                    bodies = [{'imageUrl': image, 'transformationTypeId': self.user.type_id(name)} for name in TYPES]
                number += 1                             # also when it is disturbed: one key, one request
                self.create(number, self.dice.choice(bodies))
                if number in self.jobs:
                    self.follow(self.jobs[number])
            except (requests.RequestException, AssertionError, KeyError, ValueError):
                self.tried['disturbed'] += 1            # a process died under it: the next round will do
                time.sleep(0.2)

    def follow(self, job):
        way = self.dice.choice(['wait', 'events', 'cancel', 'poll', 'leave'])
        self.tried[way] += 1
        url = f'{self.server.url}/api/v1/jobs/{job}'
        if way == 'cancel':
            requests.post(url + '/cancel', json={}, headers=self.user.headers, timeout=20)
        elif way == 'events':
            with requests.get(url + '/events', headers=self.user.headers, stream=True, timeout=30) as reply:
                for _ in reply.iter_lines():
                    pass
        elif way == 'leave':                            # goes away in the middle of a wait
            try:
                requests.get(url + '?wait=30', headers=self.user.headers, timeout=0.05)
            except requests.RequestException:
                pass
        else:
            requests.get(url + ('?wait=30' if way == 'wait' else ''), headers=self.user.headers, timeout=40)
            requests.get(f'{self.server.url}/api/transformations/{job}/download', headers=self.user.headers, timeout=30)


# ---- what processes hold -----------------------------------------------------------------------

def children(server):
    """(pid, kind) of httpd's children and of the worker."""
    found = [(pid, 'worker') for pid in server.worker_pids()]
    for entry in pathlib.Path('/proc').iterdir():
        try:
            stat = (entry / 'stat').read_text() if entry.name.isdigit() else ''
        except OSError:
            continue
        name, _, rest = stat.partition(') ')
        if rest and int(rest.split()[1]) == server.httpd.pid and not name.split('(')[1].startswith('pixshift'):
            found.append((int(entry.name), 'httpd child'))
    return found


def sample(server):
    """pid -> Sample of those that are alive; private memory, without what is shared."""
    taken = {}
    for pid, kind in children(server):
        try:
            lines = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
            kib = sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))
            taken[pid] = Sample(kind, kib, len(os.listdir(f'/proc/{pid}/fd')))
        except OSError:
            continue
    return taken


def growth(before, after, jobs):
    """Prints what grew; returns the largest growth of memory and of descriptors in one process."""
    most_kib = most_fds = 0
    print(f'{"process":<20}{"KiB":>10}{"then":>10}{"growth":>10}{"per 1000 jobs":>15}{"fds":>6}{"then":>6}')
    for pid in sorted(before.keys() & after.keys()):
        a, b = before[pid], after[pid]
        print(f'{b.kind + " " + str(pid):<20}{a.kib:>10}{b.kib:>10}{b.kib - a.kib:>10}'
              f'{(b.kib - a.kib) * 1000 / max(jobs, 1):>15.1f}{a.fds:>6}{b.fds:>6}')
        most_kib, most_fds = max(most_kib, b.kib - a.kib), max(most_fds, b.fds - a.fds)
    return most_kib, most_fds


# ---- disturbance -------------------------------------------------------------------------------

def disturb(server, until):
    """Kills, restarts and cuts in random order; returns how many of each."""
    done, dice = collections.Counter(), random.Random(11)
    while time.monotonic() < until:
        act = dice.choice(['kill worker'] * 4 + ['kill child', 'graceful', 'cut connections'])
        if act == 'kill worker':
            server.kill_worker()
        elif act == 'kill child':
            pids = [pid for pid, kind in children(server) if kind == 'httpd child']
            if pids:
                os.kill(dice.choice(pids), 9)
        elif act == 'graceful':
            server.graceful()
        else:
            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                       " AND datname = 'pixshift'")
        done[act] += 1
        time.sleep(min(dice.uniform(1.0, 5.0), max(until - time.monotonic(), 0)))
    return done


# ---- the end -----------------------------------------------------------------------------------

def settle(server):
    server.stop_httpd()                 # a last disturbance: an ordinary stop and start
    server.start()
    wait_for(lambda: server.value(f'SELECT count(*) FROM pixshift.jobs WHERE NOT {ENDED}') == 0, 240, 0.5,
             'the end of all jobs')


def faults_of(server, clients):
    """Sentences about what is not as it must be."""
    faults = [f'{len(c.faults)} refused creates, first: {c.faults[0]}' for c in clients if c.faults]
    accepted = [job for c in clients for job in c.jobs.values()]
    states = dict(server.sql('SELECT state, count(*) FROM pixshift.jobs GROUP BY 1'))
    captured = server.value("SELECT count(*) FROM pixshift.holds WHERE state = 'captured'")
    violations = server.violations()
    print('jobs', states, '- captured holds', captured, '- ledger violations', len(violations))
    checks = [
        (len(accepted) == len(set(accepted)), 'two creates got one job'),
        (len(accepted) <= sum(states.values()), 'accepted jobs are missing'),
        (set(states) <= {'succeeded', 'canceled'}, f'jobs ended otherwise: {states}'),
        (captured == states.get('succeeded', 0), f'{captured} charges for {states.get("succeeded", 0)} results'),
        (server.value("SELECT count(*) FROM pixshift.holds WHERE state = 'pending'") == 0, 'credit is still held'),
        (not violations, f'ledger: {violations[:5]}'),
        (not stray_files(server), 'files that no image knows'),
    ]
    return faults + [text for fine, text in checks if not fine]


def calm_half(server, clients, until, begin):
    """Memory and descriptors over the calm half; (KiB, descriptors) of the largest growth."""
    time.sleep(max((until - begin) / 5, 0))
    before, jobs = sample(server), sum(len(c.jobs) for c in clients)
    time.sleep(max(until - time.monotonic(), 0))
    return growth(before, sample(server), sum(len(c.jobs) for c in clients) - jobs)


def soak(options, folder):
    length = options.minutes * 60
    with Server(folder, threads=32, extra=EXTRA) as server:
        server.expect_log(*EXPECTED, r'AH00\d{3}|AH01\d{3}')
        stop, begin = threading.Event(), time.monotonic()
        clients = [Client(server, seed, stop) for seed in range(options.threads)]
        threads = [threading.Thread(target=c.go) for c in clients]
        for thread in threads:
            thread.start()
        try:
            kib, fds = calm_half(server, clients, begin + length / 2, begin)
            done = disturb(server, begin + length)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        settle(server)
        faults = faults_of(server, clients)
        print('disturbances', dict(done), '- ways of following', dict(sum((c.tried for c in clients), collections.Counter())))
    if kib > options.grow_kib:
        faults.append(f'a process grew by {kib} KiB')
    if fds > options.grow_fds:
        faults.append(f'a process grew by {fds} descriptors')
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--threads', type=int, default=16)
    parser.add_argument('--grow-kib', type=int, default=32768)
    parser.add_argument('--grow-fds', type=int, default=32)
    parser.add_argument('--folder', help='kept afterwards; default: a temporary one')
    options = parser.parse_args()
    folder = options.folder or tempfile.mkdtemp(prefix='pxsoak', dir='/tmp')
    faults = soak(options, folder)
    for fault in faults:
        print('FAULT', fault)
    if not options.folder and not faults:
        shutil.rmtree(folder, ignore_errors=True)
    print('soak:', f'{len(faults)} faults, see {folder}' if faults else 'all is well')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
