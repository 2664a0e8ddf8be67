#!/usr/bin/env python3
"""Multipart upload of a 10 MB file, parsed, hashed (SHA-256) and saved, against a Node busboy server that
does the same, from one client with four connections.  Goal: at least 2.5 times its bytes per second."""
import os
import pathlib
import subprocess
import tempfile
import threading
import time

import requests

from common import interleaved, node_peer, report
from pixshift import Server, free_port, wait_for

SIZE, ROUNDS, CONNECTIONS, REQUESTS = 10 * 1000 * 1000, 5, 4, 40

PEER = '''
const http = require('http'), busboy = require('busboy'), fs = require('fs'), crypto = require('crypto');
let number = 0;
http.createServer((req, res) => {
  const bb = busboy({ headers: req.headers });
  bb.on('file', (name, file) => {
    const path = `${process.argv[3]}/${number++}`, out = fs.createWriteStream(path), hash = crypto.createHash('sha256');
    file.on('data', (piece) => hash.update(piece));
    file.pipe(out);
    out.on('finish', () => { fs.unlink(path, () => {}); res.end(hash.digest('hex')); });
  });
  req.pipe(bb);
}).listen(Number(process.argv[2]), '127.0.0.1');
'''
EDGE = 'pixshiftbench0123456789'


def body():
    head = f'--{EDGE}\r\nContent-Disposition: form-data; name="image"; filename="a.bin"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + os.urandom(SIZE) + f'\r\n--{EDGE}--\r\n'.encode()


def megabytes_per_second(url, data):
    """Uploads REQUESTS times over CONNECTIONS keep-alive connections."""
    left, lock = [REQUESTS], threading.Lock()

    def work():
        session = requests.Session()
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            reply = session.post(url, data=data, headers={'Content-Type': f'multipart/form-data; boundary={EDGE}'}, timeout=60)
            assert reply.status_code == 200, reply.text
    start = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return REQUESTS * SIZE / 1e6 / (time.monotonic() - start)


def main():
    module = pathlib.Path(os.environ['PIXSHIFT_BUILD']) / 'tests/bench/.libs/mod_bench_upload.so'
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        peer = node_peer(folder + '/node', 'busboy')
        (peer / 'peer.js').write_text(PEER)
        port = free_port()
        node = subprocess.Popen(['node', 'peer.js', str(port), folder], cwd=peer)
        try:
            with Server(folder + '/px', servers=1, limit=1, threads=16, load=f'LoadModule bench_upload_module "{module}"',
                        extra='<Location "/bench-upload">\n    SetHandler bench-upload\n</Location>') as server:
                data = body()
                urls = {'pixshift': server.url + '/bench-upload', 'busboy': f'http://127.0.0.1:{port}/'}
                wait_for(lambda: requests.post(urls['busboy'], data=data, headers={
                    'Content-Type': f'multipart/form-data; boundary={EDGE}'}, timeout=10).ok)
                figures = interleaved(ROUNDS, **{name: (lambda u=url: megabytes_per_second(u, data))
                                                 for name, url in urls.items()})
                report('10 MB multipart uploads, parsed, hashed and saved', figures, 'pixshift', 'busboy', 'MB/s', 2.5)
        finally:
            node.terminate()
            node.wait()


if __name__ == '__main__':
    main()
