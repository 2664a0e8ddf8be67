"""Open streams and waits hold no request thread."""
import json
import pathlib
import socket
import time

import pytest
import requests

from pixshift import Server, photo, wait_for

STREAMS, WAITS = 500, 200


@pytest.fixture(scope='module')
def narrow(tmp_path_factory):
    """One child with ten request threads; the worker is away, so that jobs stay queued."""
    with Server(tmp_path_factory.mktemp('narrow'), servers=1, limit=4, threads=10, workers=10, worker='off',
                extra='PixShiftFreeDaily 1000\nPixShiftStreams 2000') as running:
        yield running


def open_request(server, path, headers):
    sock = socket.create_connection(('127.0.0.1', server.port), timeout=20)
    lines = ''.join(f'{k}: {v}\r\n' for k, v in headers.items())
    sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n'.encode())
    return sock


def child_pids(server):
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / 'stat').read_text()
            except OSError:
                continue
            if int(stat[stat.rindex(')') + 2:].split()[1]) == server.httpd.pid and '(apache2)' in stat:
                found.append(int(entry.name))
    return found


def private_kib(pid):
    return sum(int(line.split()[1]) for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
               if line.startswith('Private_'))


def test_seven_hundred_open_requests_on_ten_threads(narrow):
    user = narrow.sign_up()
    image = user.upload(photo()).json()['imageUrl']
    job = user.post('/api/transformations', json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Sepia')}).json()['transformation']['id']
    child, = child_pids(narrow)
    before = private_kib(child)
    sockets = []
    try:
        for _ in range(STREAMS):
            sockets.append(open_request(narrow, f'/api/v1/jobs/{job}/events', user.headers))
        for sock in sockets:
            assert b'200 OK' in sock.recv(4096)
        grown = (private_kib(child) - before) / STREAMS
        for _ in range(WAITS):
            sockets.append(open_request(narrow, f'/api/v1/jobs/{job}?wait=60', user.headers))
        wait_for(lambda: open_streams(narrow) >= STREAMS + WAITS, 20, what='the open streams')
        print(f'memory per open stream: {grown:.1f} KiB')
        assert grown < 64
        times = []
        for _ in range(100):
            start = time.monotonic()
            assert requests.get(narrow.url + '/api/v1/credits', headers=user.headers, timeout=5).status_code == 200
            times.append(time.monotonic() - start)
        print(f'ordinary request meanwhile: median {sorted(times)[50] * 1000:.1f} ms')
        assert sorted(times)[95] < 1.0
        # the end of the job ends them all
        assert user.post(f'/api/v1/jobs/{job}/cancel', json={}).status_code == 200
        for sock in sockets[STREAMS:]:
            sock.settimeout(20)
            text = read_all(sock)
            assert b'HTTP/1.1 200' in text and (b'cancel' in text.lower() or b'failed' in text), text[:400]
        for sock in sockets[:STREAMS]:
            sock.settimeout(20)
            assert b'event:' in read_all(sock)
    finally:
        for sock in sockets:
            sock.close()
    wait_for(lambda: open_streams(narrow) == 0, 20, what='the end of the streams')


def open_streams(server):
    for line in requests.get(server.url + '/metrics', timeout=5).text.splitlines():
        if line.startswith('pixshift_streams_open'):
            return int(float(line.split()[-1]))
    return -1


def read_all(sock):
    data = b''
    while True:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece


def events(text):
    found = []
    for block in text.split('\n\n'):
        fields = dict(line.split(': ', 1) for line in block.splitlines() if ': ' in line and not line.startswith(':'))
        if 'event' in fields:
            found.append((fields.get('id'), fields['event'], json.loads(fields['data'])))
    return found


def test_sse_tells_the_story_and_resumes(server, user):
    image = user.upload(photo()).json()['imageUrl']
    job = user.post('/api/transformations', json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Poster')}).json()['transformation']['id']
    with requests.get(server.url + f'/api/v1/jobs/{job}/events', headers=user.headers, stream=True, timeout=30) as reply:
        assert reply.status_code == 200
        assert reply.headers['content-type'].startswith('text/event-stream')
        text = reply.raw.read().decode()
    seen = events(text)
    names = [name for _, name, _ in seen]
    assert names[-1] == 'job.succeeded', names
    ids = [int(number) for number, _, _ in seen]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    # resume behind the first event: the rest comes again, nothing else
    again = requests.get(server.url + f'/api/v1/jobs/{job}/events', timeout=30,
                         headers={**user.headers, 'Last-Event-ID': seen[0][0]})
    assert events(again.text) == seen[1:]


def test_poll_with_etag(user):
    image = user.upload(photo()).json()['imageUrl']
    reply = user.post('/api/transformations', headers={'Prefer': 'wait=30'}, json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Poster')})
    job = reply.json()['transformation']['id']
    first = user.get(f'/api/v1/jobs/{job}')
    assert first.status_code == 200 and first.headers['etag']
    same = user.get(f'/api/v1/jobs/{job}', headers={'If-None-Match': first.headers['etag']})
    assert same.status_code == 304 and not same.content


def test_wait_returns_at_its_time(narrow):
    user = narrow.sign_up()
    image = user.upload(photo()).json()['imageUrl']
    start = time.monotonic()
    reply = user.post('/api/transformations', headers={'Prefer': 'wait=1'}, json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Sepia')})
    assert 0.9 < time.monotonic() - start < 4
    assert reply.json()['transformation']['status'] == 'PENDING'


def test_graceful_ends_streams_kindly(narrow):
    user = narrow.sign_up()
    image = user.upload(photo()).json()['imageUrl']
    job = user.post('/api/transformations', json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Sepia')}).json()['transformation']['id']
    sock = open_request(narrow, f'/api/v1/jobs/{job}/events', user.headers)
    sock.settimeout(15)
    text = b''
    while b'job.queued' not in text:
        text += sock.recv(4096)
    narrow.graceful()
    text += read_all(sock)
    assert b'200 OK' in text and b'event: job.queued' in text
    assert b'retry:' in text, 'clients are told when to come back'
    assert text.endswith(b'0\r\n\r\n'), 'the stream ends in order'
    wait_for(narrow.ready, 20)
