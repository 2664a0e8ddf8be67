"""Providers behind the vtable: a third party's plugin, fallback by class of failure, and what the user
pays when vendors misbehave."""
import json
import os

import pytest

import template_plugin
from pixshift import PREFIX, Server, photo, wait_for
from vendor import KEY, Vendor

CONF = '''
<PixShiftPlugin painter {so}>
    ApiKey  file:{key}
    BaseURL {url}
    Timeout 2s
</PixShiftPlugin>
PixShiftEgressAllow "127.0.0.0/8"
'''


def started(folder, vendor, more, extra=''):
    os.chmod(folder, 0o755)
    so = template_plugin.build(folder, PREFIX)
    key = folder / 'vendor.key'
    key.write_text(KEY)
    key.chmod(0o600)
    return Server(folder / 'px', extra=CONF.format(so=so, key=key, url=vendor.url) + extra,
                  providers={'transformation': 'painter' + more})


@pytest.fixture(scope='module')
def vendor():
    with Vendor(photo(200, 150)) as running:
        yield running


@pytest.fixture(scope='module')
def server(tmp_path_factory, vendor):
    """The vendor first, the bundled provider behind it."""
    with started(tmp_path_factory.mktemp('chain'), vendor, ' local', 'PixShiftFreeDaily 1000\n') as running:
        running.expect_log(r'PXS3\d{3}', r'PXS6\d{3}', r'PXS5143')
        yield running


@pytest.fixture(scope='module')
def alone(tmp_path_factory, vendor):
    """The vendor only."""
    with started(tmp_path_factory.mktemp('alone'), vendor, '', 'PixShiftFreeDaily 1000\nPixShiftJobDeadline 20s\n') as running:
        running.expect_log(r'PXS3\d{3}', r'PXS6\d{3}', r'PXS5143')
        yield running


def fresh_worker(server):
    """A worker whose circuit breakers remember nothing of the test before."""
    old = server.worker_pids()
    server.kill_worker()
    wait_for(lambda: server.worker_pids() and server.worker_pids() != old, 10, what='the next worker')


def run(server, vendor, *script, user=None):
    """One transformation while the vendor follows the script; returns its final state and the calls made."""
    user = user or server.sign_up()
    fresh_worker(server)
    vendor.script, vendor.calls[:], vendor.faults[:] = list(script), [], []
    image = user.upload(photo()).json()['imageUrl']
    reply = user.post('/api/transformations', headers={'Prefer': 'wait=40'}, json={
        'imageUrl': image, 'transformationTypeId': user.type_id('Poster')})
    assert reply.status_code == 200, reply.text
    assert vendor.faults == []
    state = reply.json()['transformation']
    state['provider'] = server.value('SELECT provider FROM pixshift.jobs WHERE id = %s', [state['id']])
    state['attempts'] = server.sql('SELECT provider, outcome FROM pixshift.job_attempts WHERE job_id = %s'
                                   ' ORDER BY attempt', [state['id']])
    state['used'] = user.get('/api/v1/credits').json()['total_used']
    return state, vendor.calls


def test_the_vendor_does_the_work(server, vendor):
    state, calls = run(server, vendor, 'ok')
    assert state['status'] == 'COMPLETED' and state['provider'] == 'painter'
    assert len(calls) == 1 and 'poster' in calls[0]['request'].lower()
    assert state['attempts'][0][0] == 'painter' and state['used'] == 1


@pytest.mark.parametrize('fault', ['500', 'rubbish', 'html', 'truncated', 'close', '401', '402'])
def test_faults_fall_back_and_cost_one_credit(server, vendor, fault):
    state, calls = run(server, vendor, fault)
    assert state['status'] == 'COMPLETED', state
    assert state['provider'] == 'local', state
    assert state['used'] == 1
    assert calls, 'the vendor was asked first'


def test_a_refusal_is_never_tried_elsewhere(server, vendor):
    state, calls = run(server, vendor, 'refused')
    assert state['status'] == 'FAILED' and len(calls) == 1
    assert [row[0] for row in state['attempts']] == ['painter']
    assert 'refused' in state['errorMessage'].lower()
    assert state['used'] == 0


def test_a_timeout_is_unknown_and_not_sent_again(alone, vendor):
    """timeout-is-not-failure: the same vendor is not asked twice for a creating call; nothing is charged."""
    state, calls = run(alone, vendor, 'hang')
    assert state['status'] == 'FAILED', state
    assert len({call['key'] for call in calls}) <= 1, calls
    assert state['used'] == 0 and alone.violations() == []


def test_a_rate_limit_is_waited_for(alone, vendor):
    state, calls = run(alone, vendor, 'rate', 'ok')
    assert state['status'] == 'COMPLETED' and len(calls) >= 2, (state, calls)
    assert state['used'] == 1


def test_secrets_stay_secret(server, vendor):
    """Neither logs nor the database nor process lists show the vendor's key."""
    run(server, vendor, '500')
    assert KEY not in server.log()
    exported = server.ctl('config', 'export').stdout
    assert KEY not in exported and 'file:' in exported
    for pid in server.worker_pids():
        for name in ('cmdline', 'environ'):
            with open(f'/proc/{pid}/{name}', 'rb') as file:
                assert KEY.encode() not in file.read()
    assert json.loads(exported)
