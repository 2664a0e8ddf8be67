"""Credits as a client sees them, and the ledger's books behind them."""
import struct
import threading
import zlib

import pytest

from pixshift import Server, dump, in_parallel, photo, wait_for


@pytest.fixture(scope='module')
def poor(tmp_path_factory):
    """Nobody gets anything for free."""
    with Server(tmp_path_factory.mktemp('poor'), threads=48, extra='''
PixShiftFreeLifetime 0
PixShiftFreeDaily 0
''') as running:
        yield running


def body(user, image):
    return {'imageUrl': image, 'transformationTypeId': user.type_id('Vivid Colours')}


def test_no_overspend(poor):
    """D-1: 64 parallel creates with balance 1: exactly one is accepted, the others say what is held;
    the books are right at every sample."""
    user = poor.sign_up()
    poor.grant(user, 1)
    image = user.upload(photo()).json()['imageUrl']
    wanted = body(user, image)
    stop, bad = threading.Event(), []

    def sample():
        while not stop.is_set():
            bad.extend(poor.violations())
    sampler = threading.Thread(target=sample)
    sampler.start()
    replies = in_parallel(64, lambda i: user.post('/api/transformations', json=wanted))
    stop.set()
    sampler.join()
    statuses = sorted(r.status_code for r in replies)
    assert statuses == [200] + [402] * 63, [dump(r) for r in replies if r.status_code not in (200, 402)][:3]
    refused = next(r for r in replies if r.status_code == 402).json()['error']
    assert refused['details']['required'] == 1
    assert refused['details']['held'] + refused['details']['available'] <= 1
    assert 'held' in refused['details']
    assert bad == []
    wait_for(lambda: poor.value("SELECT count(*) FROM pixshift.jobs WHERE state = 'succeeded'") == 1, 30)
    assert user.get('/api/v1/credits').json()['credits'] == 0
    assert poor.violations() == []


def test_failed_job_costs_nothing(poor):
    """D-6: the provider fails, the balance is as before."""
    user = poor.sign_up()
    poor.grant(user, 2)
    # Sound in structure, so that the scan passes it; its compressed data is nonsense.
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    picture = (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 300, 300, 8, 2, 0, 0, 0))
               + chunk(b'IDAT', bytes(range(256)) * 8) + chunk(b'IEND', b''))
    upload = user.upload(picture)
    assert upload.status_code == 200, upload.text
    reply = user.post('/api/transformations', json=body(user, upload.json()['imageUrl']),
                      headers={'Prefer': 'wait=30'}).json()['transformation']
    assert reply['status'] == 'FAILED' and reply['errorMessage']
    assert user.get('/api/v1/credits').json()['credits'] == 2
    assert poor.violations() == []


def test_transactions_list(poor):
    """CRD-2, C-34"""
    user = poor.sign_up()
    poor.grant(user, 3)
    image = user.upload(photo()).json()['imageUrl']
    user.post('/api/transformations', json=body(user, image), headers={'Prefer': 'wait=30'})
    listed = user.get('/api/v1/credits/transactions?page=1&limit=10').json()
    assert listed['page'] == 1 and listed['limit'] == 10 and listed['total'] >= 2
    kinds = {row['type'] for row in listed['transactions']}
    assert kinds <= {'usage', 'purchase', 'free', 'refund', 'admin_adjustment'} and 'usage' in kinds
    only = user.get('/api/v1/credits/transactions?type=usage').json()['transactions']
    assert only and {row['type'] for row in only} == {'usage'}
    usage = only[0]
    assert usage['amount'] == -1 and usage['balance_after'] == 2
    assert user.get('/api/v1/credits/transactions?type=nonsense').status_code == 400


def test_free_tier_runs_out(server):
    """C-19: without a chosen tier FREE_TIER_EXHAUSTED, with one PAYMENT_REQUIRED."""
    user = server.sign_up()
    image = user.upload(photo()).json()['imageUrl']
    wanted = body(user, image)
    # five for life and three of today
    for _ in range(8):
        reply = user.post('/api/transformations', json=wanted, headers={'Prefer': 'wait=30'})
        assert reply.status_code == 200, reply.text
    reply = user.post('/api/transformations', json=wanted)
    assert reply.status_code == 402 and reply.json()['error']['code'] == 'FREE_TIER_EXHAUSTED'
    assert reply.json()['error']['category'] == 'BILLING'
    tiers = user.get('/api/billing/pricing-tiers').json()['tiers']
    chosen = user.post('/api/billing/pricing-tier', json={'pricingTier': tiers[0]['id']})
    assert chosen.json() == {'success': True, 'pricingTier': tiers[0]['id']}
    reply = user.post('/api/transformations', json=wanted)
    assert reply.status_code == 402 and reply.json()['error']['code'] == 'PAYMENT_REQUIRED'


def test_admin_refund_and_adjustment(poor):
    """CRD-16, ADM-5, ADM-7"""
    user, admin = poor.sign_up(), poor.admin()
    given = admin.post(f'/api/v1/admin/users/{user.id}/credits', json={'amount': 4, 'reason': 'welcome'})
    assert given.status_code == 200, given.text
    image = user.upload(photo()).json()['imageUrl']
    job = user.post('/api/transformations', json=body(user, image),
                    headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    assert user.get('/api/v1/credits').json()['credits'] == 3
    first = admin.post(f'/api/v1/admin/jobs/{job}/refund', json={})
    assert first.status_code == 200, first.text
    again = admin.post(f'/api/v1/admin/jobs/{job}/refund', json={})
    assert again.status_code == 409, again.text
    assert user.get('/api/v1/credits').json()['credits'] == 4
    assert user.post(f'/api/v1/admin/jobs/{job}/refund', json={}).status_code == 403
    assert poor.violations() == []


def test_ctl_credits(poor):
    user = poor.sign_up()
    poor.grant(user, 7, 'by hand')
    shown = poor.ctl('credits', 'show', user.id).stdout
    assert '7' in shown
    assert poor.ctl('ledger', 'verify').returncode == 0
