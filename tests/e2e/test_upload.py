"""Hostile and ordinary uploads: refused by name, before any decoder, quickly; flat memory."""
import io
import os
import pathlib
import struct
import threading
import time
import zlib

import pytest
from PIL import Image

from pixshift import Server, photo


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp('up'), servers=1, limit=1, threads=16) as running:
        yield running


def chunk(kind, data, length=None, crc=None):
    size = len(data) if length is None else length
    return struct.pack('>I', size) + kind + data + struct.pack('>I', zlib.crc32(kind + data) if crc is None else crc)


def png(width, height, idat=b'', tail=b''):
    ihdr = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', ihdr) + chunk(b'IDAT', idat or zlib.compress(b'\0' * 64)) \
        + chunk(b'IEND', b'') + tail


def animated_webp():
    frames = [Image.new('RGB', (200, 200), (i * 60, 20, 90)) for i in range(3)]
    out = io.BytesIO()
    frames[0].save(out, 'WEBP', save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


HOSTILE = {
    'png_20000x20000': (png(20000, 20000), {'VALIDATION_ERROR'}),
    'png_57_bytes_huge_chunk': (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 300, 300, 8, 2, 0, 0, 0))
                                + struct.pack('>I', 0x3FFFFFFF) + b'tEXt' + b'abcdefgh' + b'\0' * 8, {'INVALID_FILE_TYPE'}),
    'truncated_jpeg': (photo(400, 300, fmt='JPEG')[:-700], {'INVALID_FILE_TYPE'}),
    'polyglot_zip': (photo(300, 300) + b'PK\x03\x04' + b'\0' * 100, {'INVALID_FILE_TYPE'}),
    'polyglot_html': (photo(300, 300, fmt='JPEG') + b'<script>alert(1)</script>', {'INVALID_FILE_TYPE'}),
    'animated_webp': (animated_webp(), {'INVALID_FILE_TYPE'}),
    'svg': (b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300"/>', {'INVALID_FILE_TYPE'}),
    'gif': (photo(300, 300, mode='P', fmt='GIF'), {'INVALID_FILE_TYPE'}),
    'empty': (b'', {'INVALID_FILE_TYPE', 'VALIDATION_ERROR'}),
    'text': (b'hello' * 100, {'INVALID_FILE_TYPE'}),
    'too_small': (photo(99, 300), {'VALIDATION_ERROR'}),
    'too_wide': (photo(5001, 120), {'VALIDATION_ERROR'}),
}


@pytest.mark.parametrize('name', sorted(HOSTILE))
def test_refused_by_name_and_quickly(server, name):
    user = server.sign_up()
    data, codes = HOSTILE[name]
    user.upload(photo(120, 120))                            # connection and caches are warm
    took = []
    for _ in range(3):
        start = time.monotonic()
        reply = user.upload(data, 'photo.png')
        took.append(time.monotonic() - start)
    assert reply.status_code == 400, reply.text
    error = reply.json()['error']
    assert error['code'] in codes, error
    assert error['details'].get('reason') or error['details'].get('field'), error
    assert error['message'].endswith('.')
    assert min(took) < 0.1


def test_ten_megabytes_is_the_limit(server):
    user = server.sign_up()
    reply = user.upload(b'\xff\xd8\xff\xe0' + b'\0' * (10 * 1024 * 1024 + 70000))
    assert reply.status_code == 400 and reply.json()['error']['code'] == 'FILE_TOO_LARGE'


@pytest.mark.parametrize('fmt,ext,mime', [('PNG', 'png', 'image/png'), ('JPEG', 'jpg', 'image/jpeg'), ('WEBP', 'webp', 'image/webp')])
def test_good_formats(server, fmt, ext, mime):
    user = server.sign_up()
    reply = user.upload(photo(500, 400, fmt=fmt), 'a.' + ext, mime)
    assert reply.status_code == 200, reply.text
    fetched = user.session.get(reply.json()['imageUrl'], timeout=10)
    assert fetched.headers['content-type'] == mime
    assert fetched.headers['content-security-policy'] or fetched.headers['x-content-type-options'] == 'nosniff'


def rss_kib(pids):
    """Private memory of the processes in KiB."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
            if line.startswith(('Private_Dirty', 'Private_Clean')):
                total += int(line.split()[1])
    return total


def children(server):
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / 'stat').read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(')') + 2:].split()
            if int(fields[1]) == server.httpd.pid and 'pixshift' not in stat:
                found.append(int(entry.name))
    return found


def slow_upload(server, user, data, reached, go):
    """Sends all but the last bytes, waits, then ends the request; returns the status line."""
    import socket
    edge = 'X' * 30
    head = (f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\n'
            'Content-Type: image/png\r\n\r\n').encode()
    body = head + data + f'\r\n--{edge}--\r\n'.encode()
    with socket.create_connection(('127.0.0.1', server.port), timeout=30) as sock:
        sock.sendall((f'POST /api/transformations/upload HTTP/1.1\r\nHost: x\r\n'
                      f'Authorization: {user.headers["Authorization"]}\r\n'
                      f'Content-Type: multipart/form-data; boundary={edge}\r\n'
                      f'Content-Length: {len(body)}\r\n\r\n').encode())
        sock.sendall(body[:-40])
        reached.release()
        go.wait(20)
        sock.sendall(body[-40:])
        return sock.recv(4096).split(b'\r\n')[0]


def test_upload_memory_is_flat(server):
    """A 10 MB upload in flight grows a child by less than 1 MB."""
    user, count = server.sign_up(), 8
    noise = os.urandom(2400 * 1300 * 3)
    out = io.BytesIO()
    Image.frombytes('RGB', (2400, 1300), noise).save(out, 'PNG', compress_level=0)
    data = out.getvalue()
    assert 9_000_000 < len(data) < 10 * 1024 * 1024
    user.upload(data)                                       # warm
    before = rss_kib(children(server))
    reached, go, results = threading.Semaphore(0), threading.Event(), []
    threads = [threading.Thread(target=lambda: results.append(slow_upload(server, user, data, reached, go)))
               for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in range(count):
        assert reached.acquire(timeout=30)
    time.sleep(0.5)
    grown = (rss_kib(children(server)) - before) / count
    go.set()
    for thread in threads:
        thread.join()
    print(f'growth per 10 MB upload in flight: {grown:.0f} KiB')
    assert all(b' 200 ' in line for line in results), results
    assert grown < 1024
