"""Rate limits: RAT-1, C-17, D-7. Exact over all children; stacked; told in headers."""
import re
import time

import pytest

from pixshift import Client, Server, dump, in_parallel

ITEM = re.compile(r'"([\w-]+)";r=(\d+);t=(\d+)')


class Limited(Server):
    """The shipped limits, or `rates`, in place of the wide ones of other tests."""
    rates = ''

    def write_conf(self):
        super().write_conf()
        lines = [line for line in self.conf.read_text().splitlines() if 'PixShiftRateLimit' not in line]
        self.conf.write_text('\n'.join([*lines, self.rates, '']))


class ByHour(Limited):
    """Windows so long that nothing trickles in while the test counts."""
    rates = ('PixShiftRateLimit ip off\nPixShiftRateLimit key off\n'
             'PixShiftRateLimit address ip requests 100 1h\nPixShiftRateLimit keys key requests 20 1h\n'
             'PixShiftRateLimit people user requests 40 1h')


@pytest.fixture
def shipped(tmp_path_factory):
    with Limited(tmp_path_factory.mktemp('shipped')) as running:
        yield running


@pytest.fixture
def hourly(tmp_path_factory):
    with ByHour(tmp_path_factory.mktemp('hourly'), servers=8, threads=4, limit=8) as running:
        yield running


def test_shipped_limit_per_address(shipped):
    """RAT-1: 100 a minute; one more each 0.6 s."""
    client, start = shipped.anonymous(), time.monotonic()
    replies = [client.get('/api/v1/nothing') for _ in range(140)]
    allowed = sum(r.status_code == 404 for r in replies)
    assert 100 <= allowed <= 100 + (time.monotonic() - start) / 0.6 + 1
    assert all(r.status_code in (404, 429) for r in replies)
    assert replies[0].headers['X-RateLimit-Limit'] == '100'
    assert replies[0].headers['X-RateLimit-Remaining'] == '99'
    refused = next(r for r in replies if r.status_code == 429)
    assert refused.json()['error']['code'] == 'RATE_LIMIT_EXCEEDED'
    assert refused.json()['error']['category'] == 'API'
    assert refused.headers['Retry-After'] == '1'
    assert shipped.anonymous().get('/api/health').status_code == 200, 'health is never limited'
    assert shipped.anonymous().get('/healthz').status_code == 200


def test_exact_over_eight_children(hourly):
    """D-7, limits-stack."""
    replies = in_parallel(40, lambda i: [hourly.anonymous().get('/api/nothing') for _ in range(5)])
    flat = [r for some in replies for r in some]
    assert sorted({r.status_code for r in flat}) == [404, 429]
    assert sum(r.status_code == 404 for r in flat) == 100
    refused = next(r for r in flat if r.status_code == 429)
    assert refused.json()['success'] is False
    assert refused.json()['error']['details'] == {
        'policy': 'address', 'limit': 100, 'retryAfter': int(refused.headers['Retry-After'])}
    assert 1 <= int(refused.headers['Retry-After']) <= 37


def test_per_key_and_per_user_stack(hourly):
    """RAT-1: the key's limit, the person's, and the address's count the same request."""
    user = hourly.sign_up()                                                     # address 1
    key = user.with_key()
    replies = [key.get('/api/v1/credits') for _ in range(25)]                   # address 26
    assert [r.status_code for r in replies] == [200] * 20 + [429] * 5
    last = replies[19].headers
    policies = dict((name, (int(rest), int(seconds))) for name, rest, seconds in ITEM.findall(last['RateLimit']))
    assert set(policies) == {'address', 'keys', 'people'}
    assert policies['keys'][0] == 0 and policies['people'][0] == 20
    assert (last['X-RateLimit-Limit'], last['X-RateLimit-Remaining']) == ('20', '0'), 'the nearest to its end'
    assert abs(int(last['X-RateLimit-Reset']) - time.time() - policies['keys'][1]) < 5
    assert '"keys";q=20;w=3600' in last['RateLimit-Policy'] and '"people";q=40;w=3600' in last['RateLimit-Policy']
    assert replies[20].json()['error']['details']['policy'] == 'keys'
    # Another key of the same person has its own limit, but shares the person's.
    made = user.post('/api/v1/api-keys/generate', json={}).json()               # address 27, people 21
    second = Client(hourly, {'x-api-key': made['api_key']})
    statuses = [second.get('/api/v1/credits').status_code for _ in range(20)]   # address 47
    assert statuses == [200] * 19 + [429], 'people: 40'
    other = hourly.sign_up()                                                    # address 48
    assert other.get('/api/v1/credits').status_code == 200, dump(other.get('/api/v1/credits'))


def test_a_refused_request_costs_its_stranger_nothing(hourly):
    """What the address's limit refuses is not charged to the key."""
    user = hourly.sign_up()
    key = user.with_key()
    for _ in range(99):
        hourly.anonymous().get('/api/nothing')
    assert key.get('/api/v1/credits').status_code == 429
    hourly.stop_httpd()
    hourly.start()
    reply = key.get('/api/v1/credits')
    assert reply.status_code == 200
    assert dict((n, int(r)) for n, r, _ in ITEM.findall(reply.headers['RateLimit']))['keys'] == 19
