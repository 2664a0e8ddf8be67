"""A fake of the imaginary vendor that plugins/template speaks to: stateful, slow on demand, faulty on
demand, and strict about the requests it gets.  One thread with an event loop, hundreds of connections.

    with Vendor(picture) as vendor:
        vendor.script = ['500', 'ok']       # what the next calls get; the last one stays
"""
import asyncio
import base64
import json
import threading

KEY = 'sk-example-not-a-real-key'


class Vendor:
    def __init__(self, picture, delay=0.0, script=('ok',)):
        self.picture, self.delay, self.script = picture, delay, list(script)
        self.calls, self.faults, self.open, self.most_open = [], [], 0, 0
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.started.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}'

    def _run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, '127.0.0.1', 0, backlog=1000))
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        self.loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b'\r\n\r\n')
                lines = head.decode('latin-1').split('\r\n')
                headers = {k.lower(): v.strip() for k, v in (line.split(':', 1) for line in lines[1:] if ':' in line)}
                if headers.get('expect', '').lower() == '100-continue':
                    writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
                body = await reader.readexactly(int(headers.get('content-length', 0)))
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    going_on = await self._answer(writer, lines[0], headers, body)
                finally:
                    self.open -= 1
                if not going_on:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _check(self, line, headers, body):
        """The contract, as the template's source states it."""
        try:
            request = json.loads(body)
            assert line == 'POST /v1/images HTTP/1.1', line
            assert headers['authorization'] == f'Bearer {KEY}', 'authorization'
            assert headers['content-type'] == 'application/json', 'content type'
            assert set(request) <= {'model', 'prompt', 'image', 'mime'}, sorted(request)
            assert request['model'] and isinstance(request['prompt'], str), 'model and prompt'
            if 'image' in request:
                data = base64.b64decode(request['image'], validate=True)
                magic = {'image/png': b'\x89PNG', 'image/jpeg': b'\xff\xd8', 'image/webp': b'RIFF'}
                assert data.startswith(magic[request['mime']]), 'image'
            return request
        except (AssertionError, KeyError, ValueError) as fault:
            self.faults.append(repr(fault))
            return None

    async def _answer(self, writer, line, headers, body):
        request = self._check(line, headers, body)
        what = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.calls.append({'what': what, 'key': headers.get('idempotency-key'), 'request': request and request['prompt']})
        if self.delay:
            await asyncio.sleep(self.delay)
        if request is None:
            return await self._send(writer, 400, b'{"error":{"code":"bad_request","message":"no"}}')
        if what == 'ok':
            return await self._send(writer, 200, self.picture, 'image/png', 'X-Cost-Micro-USD: 12000\r\n')
        if what == 'refused':
            return await self._send(writer, 400, b'{"error":{"code":"content_policy","message":"not this"}}')
        if what == 'rubbish':
            return await self._send(writer, 200, b'this is no picture' * 50, 'image/png')
        if what == 'html':
            return await self._send(writer, 200, b'<html>maintenance</html>', 'text/html')
        if what == 'rate':
            return await self._send(writer, 429, b'{"error":{"code":"rate","message":"slow down"}}', extra='Retry-After: 1\r\n')
        if what == 'truncated':
            writer.write(f'HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(self.picture)}\r\n\r\n'.encode())
            writer.write(self.picture[:len(self.picture) // 2])
            await writer.drain()
            return False
        if what == 'hang':
            await asyncio.sleep(3600)
        if what == 'close':
            return False
        return await self._send(writer, int(what), b'{"error":{"code":"x","message":"broken"}}')

    async def _send(self, writer, status, body, kind='application/json', extra=''):
        writer.write(f'HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n'.encode() + body)
        await writer.drain()
        return True
