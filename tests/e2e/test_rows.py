"""Contract facts of feature rows that no other file shows: prompts (PRM, ADM-2, ADM-8), upscaling (UPS), storage
(STO), retries and error logs (ERR-5, ERR-6), request ids, logs and health (OBS).

Not yet: STO-1 in a real S3, STO-4 (Cloudinary) and STO-7, which come as plugins; UPS-5 (batches)."""
import base64
import hashlib
import io
import json
import os
import re
import time
import uuid

import pytest
import requests
from PIL import Image

import template_plugin
from pixshift import PREFIX, Server, dump, photo, wait_for
from vendor import KEY, Vendor

NOBODY = '00000000-0000-7000-8000-000000000000'
WAIT = {'Prefer': 'wait=30'}
MINUTE = 60 * 1000000


@pytest.fixture(scope='module')
def admin(server):
    return server.admin()


@pytest.fixture(scope='module')
def clocked(tmp_path_factory):
    """The test moves the clock; enhancement keeps nothing."""
    folder = tmp_path_factory.mktemp('clock')
    clock = folder / 'clock'
    clock.write_text('0')
    clock.chmod(0o644)
    with Server(folder, env={'PIXSHIFT_TEST_CLOCK': str(clock)},
                extra='PixShiftRetention enhancement none') as running:
        running.clock = clock
        yield running


def move(server, usec):
    server.clock.write_text(str(int(server.clock.read_text()) + usec))
    time.sleep(0.15)                # each process looks every 50 ms


def fetch(url, method='GET', **headers):
    return requests.request(method, url, headers={k.replace('_', '-'): v for k, v in headers.items()}, timeout=10)


def transform(user, kind, **headers):
    reply = user.post('/api/transformations', headers={**WAIT, **headers}, json={
        'imageId': user.upload(photo(160, 120)).json()['imageId'], 'transformationTypeId': kind})
    assert reply.status_code == 200, dump(reply)
    return reply.json()['transformation']


def prompt_of(server, job):
    return server.value('SELECT prompt_used FROM pixshift.jobs WHERE id = %s', (job,))


def tryon(user, mode='top'):
    picture = base64.b64encode(photo(150, 150)).decode()
    reply = user.post('/api/v1/tryon', headers=WAIT, json={'user_image': picture, 'top_image': picture, 'mode': mode})
    assert reply.status_code == 200 and reply.json()['status'] == 'completed', dump(reply)
    return reply.json()


def upscale(user, **body):
    return user.post('/api/upscale', json={'image': base64.b64encode(photo(100, 100)).decode(), **body})


# ---- prompts and types ------------------------------------------------------------------------------------------

def test_prm1_a_types_template_is_the_jobs_prompt(server, user, admin):
    """PRM-1, PRM-4: each job keeps the words that it was made with."""
    kind = admin.post('/api/admin/transformation-types', json={
        'name': 'Etching', 'description': 'Fine lines.', 'promptTemplate': 'Etch it.'}).json()['type']['id']
    first = transform(user, kind)['id']
    path = f'/api/admin/transformation-types/{kind}'
    changed = admin.put(path, json={'promptTemplate': 'Etch it deeply.'}).json()
    assert changed['type']['promptTemplate'] == 'Etch it deeply.'
    second = transform(user, kind)['id']
    assert (prompt_of(server, first), prompt_of(server, second)) == ('Etch it.', 'Etch it deeply.')
    assert 'promptTemplate' not in user.get('/api/transformation-types').text, 'not for users'


def test_prm2_versions(server, admin):
    path = '/api/v1/admin/prompts'
    made = admin.post(path, json={'type': 'full_outfit', 'name': 'Winter', 'content': 'A coat.', 'notes': 'trial'})
    prompt = made.json()['prompt']
    assert set(prompt) >= {'id', 'name', 'type', 'content', 'version', 'is_active', 'created_by', 'notes'}
    assert (prompt['name'], prompt['content'], prompt['notes']) == ('Winter', 'A coat.', 'trial')
    assert prompt['is_active'] is False and prompt['version'] == 2 and prompt['created_by'] == admin.id
    assert not prompt.get('activated_at')
    on = admin.put(f"{path}/{prompt['id']}", json={'is_active': True}).json()['prompt']
    assert on['is_active'] is True and on['activated_at'] and on['version'] == 2, 'no new text, no new version'
    newer = admin.put(f"{path}/{prompt['id']}", json={'content': 'A fur coat.'}).json()['prompt']
    assert newer['version'] == 3 and newer['id'] != prompt['id']
    assert server.value("SELECT content FROM pixshift.prompts WHERE id = %s", (prompt['id'],)) == 'A coat.'
    assert server.value("SELECT count(*) FROM pixshift.prompts WHERE type = 'full_outfit' AND is_active") == 1


def test_prm3_adm8_prompts_are_for_admins(server, user, admin):
    path = '/api/v1/admin/prompts'
    for client, status in ((user, 403), (user.with_key(), 403), (server.anonymous(), 401)):
        assert client.get(path).status_code == status
        assert client.post(path, json={'type': 'system', 'content': 'x'}).status_code == status
    for body, field in (({'type': 'hat', 'content': 'x'}, 'type'), ({'type': 'system'}, 'content'),
                        ({'type': 'system', 'content': ''}, 'content'),
                        ({'type': 'system', 'content': 'x', 'version': 9}, 'version')):
        refused = admin.post(path, json=body)
        assert refused.status_code == 400 and refused.json()['error']['details']['field'] == field, dump(refused)
    assert admin.put(f'{path}/{NOBODY}', json={'notes': 'x'}).status_code == 404
    assert admin.post(f'{path}/{NOBODY}/rollback', json={}).status_code == 404
    made = admin.post(path, json={'type': 'system', 'content': 'Be kind.'}).json()['prompt']
    admin.put(f"{path}/{made['id']}", json={'content': 'Be kinder.'})
    rows = server.sql("SELECT action, old_value, new_value FROM pixshift.audit_log WHERE admin_id = %s AND"
                      " action LIKE 'prompt.%%' ORDER BY created_at DESC LIMIT 1", (admin.id,))
    action, old, new = rows[0]
    text = lambda value: value if isinstance(value, str) else json.dumps(value)
    assert action == 'prompt.update' and 'Be kind.' in text(old) and 'Be kinder.' in text(new)


def test_prm4_the_prompt_in_use_is_composed_and_kept(server, user, admin):
    path = '/api/v1/admin/prompts'
    first = tryon(user)['job_id']
    system, top = (admin.get(f'{path}/active/{mode}').json()['prompt'] for mode in ('system', 'top'))
    assert prompt_of(server, first) == system['content'] + '\n\n' + top['content']
    admin.put(f"{path}/{top['id']}", json={'content': 'Only a scarf.'})
    second = tryon(user)['job_id']
    assert prompt_of(server, second).endswith('Only a scarf.') and 'Only a scarf.' not in prompt_of(server, first)
    assert admin.post(f"{path}/{top['id']}/rollback", json={}).status_code == 200


def test_adm2_types_are_counted_checked_and_logged(server, user, admin):
    path = '/api/admin/transformation-types'
    listed = admin.get(path).json()['types']
    assert set(listed[0]) >= {'id', 'name', 'description', 'promptTemplate', 'enabled', 'usageCount'}
    kind = listed[0]['id']
    before = listed[0]['usageCount']
    transform(user, kind)
    assert next(t for t in admin.get(path).json()['types'] if t['id'] == kind)['usageCount'] == before + 1
    for body, field in (({'name': 'x'}, 'promptTemplate'), ({'promptTemplate': 'x'}, 'name'),
                        ({'name': 'x' * 101, 'promptTemplate': 'x'}, 'name'),
                        ({'name': 'x', 'promptTemplate': 'x', 'usageCount': 3}, 'usageCount')):
        refused = admin.post(path, json=body)
        assert refused.status_code == 400 and refused.json()['error']['details']['field'] == field, dump(refused)
    assert admin.put(f'{path}/{NOBODY}', json={'name': 'x'}).status_code == 404
    assert admin.delete(f'{path}/{NOBODY}').status_code == 404
    for client, status in ((user, 403), (user.with_key(), 403), (server.anonymous(), 401)):
        assert client.get(path).status_code == status
        assert client.delete(f'{path}/{kind}').status_code == status
    made = admin.post(path, json={'name': 'Glass', 'promptTemplate': 'x'}, headers={'X-Request-Id': 'adm2'}).json()
    row = server.sql('SELECT admin_id::text, action, entity_type, ip_address::text FROM pixshift.audit_log'
                     ' WHERE entity_id = %s', (made['type']['id'],))
    assert [(r[0], r[1], r[2]) for r in row] == [(admin.id, 'transformation_type.create', 'TRANSFORMATION_TYPE')]
    assert row[0][3].startswith('127.0.0.1')


# ---- upscaling --------------------------------------------------------------------------------------------------

def test_ups1_sto5_nothing_is_stored(clocked):
    user = clocked.sign_up()
    data = upscale(user).json()['data']
    assert data['status'] == 'COMPLETED'
    assert Image.open(io.BytesIO(base64.b64decode(data['imageBase64']))).size == (200, 200)
    assert not data['outputUrl'] and not data.get('imageUrl')
    mine = lambda: [p for p in (clocked.dir / 'images').rglob('*') if p.is_file() and user.id in str(p)]
    wait_for(lambda: not mine(), 25, what='the end of picture and result')
    rows = lambda: sorted(clocked.sql('SELECT state, kind FROM pixshift.images WHERE user_id = %s', (user.id,)))
    wait_for(lambda: rows() == [('deleted', 'input'), ('deleted', 'result')], 10, what='the rows of both')
    # what was uploaded before, by itself, is the user's own
    image = user.upload(photo()).json()['imageId']
    assert user.post('/api/upscale', json={'image': image}).json()['data']['status'] == 'COMPLETED'
    time.sleep(1.2)
    assert [image in str(p) for p in mine()].count(True) == 1


def test_ups2_prompt_and_validation(server, user):
    for body, field in (({'mode': 'wild'}, 'mode'), ({'scale': 3}, 'scale'), ({'scale': 16}, 'scale'),
                        ({'scale': '2x'}, 'scale'), ({'format': 'gif'}, 'format'),
                        ({'preserveText': 'no'}, 'preserveText'), ({'prompt': 'x' * 1001}, 'prompt'),
                        ({'preserve_text': True}, 'preserve_text')):
        refused = upscale(user, **body)
        assert refused.status_code == 400 and refused.json()['error']['details']['field'] == field, dump(refused)
    assert user.post('/api/upscale', json={}).json()['error']['details']['field'] == 'image'
    plain = upscale(user, scale=4, mode='portrait', prompt='Mind the eyes.').json()['data']['jobId']
    assert re.search(r'4 times.*portrait.*text in it.*Mind the eyes\.', prompt_of(server, plain))
    loose = upscale(user, preserveText=False).json()['data']['jobId']
    assert '2 times' in prompt_of(server, loose) and 'text in it' not in prompt_of(server, loose)


def test_ups3_the_reply(user):
    reply = upscale(user)
    assert set(reply.json()) == {'success', 'data'} and reply.json()['success'] is True
    data = reply.json()['data']
    assert set(data) >= {'jobId', 'status', 'outputUrl', 'imageUrl', 'creditsUsed', 'processingTime', 'metadata'}
    assert data['metadata'].keys() >= {'inputSize', 'outputSize', 'scale', 'mode'}
    assert (data['metadata']['scale'], data['metadata']['mode']) == (2, 'standard'), 'when nothing was said'
    assert isinstance(data['processingTime'], int) and data['imageUrl'] == data['outputUrl']
    for fmt, mime, kind in (('jpg', 'image/jpeg', 'JPEG'), ('png', 'image/png', 'PNG')):
        made = upscale(user, format=fmt).json()['data']
        content = fetch(made['outputUrl'])
        assert content.headers['Content-Type'] == mime and Image.open(io.BytesIO(content.content)).format == kind
        assert len(content.content) == made['metadata']['outputSize']['bytes']
    assert user.get(f"/api/upscale/{data['jobId']}").json()['data']['outputUrl']


def test_ups4_costs(server):
    user = server.sign_up()
    server.grant(user, 40)
    costs = {('standard', 2): 1, ('standard', 4): 1, ('standard', 8): 2, ('enhanced', 2): 2, ('enhanced', 4): 2,
             ('enhanced', 8): 3, ('portrait', 4): 1, ('product', 8): 1, ('gentle', 2): 1}
    for (mode, scale), cost in costs.items():
        data = upscale(user, mode=mode, scale=scale).json()['data']
        assert (data['status'], data['creditsUsed']) == ('COMPLETED', cost), (mode, scale, data)
        assert data['metadata']['outputSize']['width'] == 100 * scale
    assert user.get('/api/v1/credits').json()['total_used'] == sum(costs.values())


# ---- storage ----------------------------------------------------------------------------------------------------

def test_sto1_keys(server, user):
    upload = user.upload(photo(150, 120, fmt='JPEG'), 'a.jpg', 'image/jpeg').json()
    job = transform(user, user.type_id('Sepia'))
    rows = server.sql('SELECT kind, key FROM pixshift.images WHERE user_id = %s', (user.id,))
    keys = dict(rows)
    assert ('upload', f"uploads/{user.id}/{upload['imageId']}.jpg") in rows
    assert re.fullmatch(rf"transformations/{user.id}/{job['id']}(-\d+)?\.(jpg|png|webp)", keys['result'])
    assert f'/api/files/{keys["result"]}?' in job['transformedImageUrl']
    assert re.search(r'[?&]expires=\d+', job['transformedImageUrl'])


def test_sto1_addresses_expire_and_come_anew(clocked):
    user = clocked.sign_up()
    key = user.with_key()
    job = transform(user, user.type_id('Sepia'))
    assert fetch(job['transformedImageUrl'], 'HEAD').status_code == 200
    move(clocked, 16 * MINUTE)
    late = fetch(job['transformedImageUrl'])
    assert late.status_code == 403 and late.json()['error']['code'] == 'AUTH_FORBIDDEN'
    fresh = key.get(f"/api/transformations/{job['id']}").json()['transformation']['transformedImageUrl']
    assert fresh != job['transformedImageUrl'] and fetch(fresh).status_code == 200


def test_sto1_forged_addresses(server, user):
    url = transform(user, user.type_id('Sepia'))['transformedImageUrl']
    other = server.sign_up()
    theirs = other.upload(photo()).json()['imageUrl']
    path, query = url.split('?')
    expires, signature = re.search(r'expires=(\d+)', query)[1], re.search(r'signature=([^&]+)', query)[1]
    swapped = signature[:-2] + ('AA' if signature[-2:] != 'AA' else 'BB')
    forged = [path, f'{path}?{query.replace(signature, swapped)}', f'{path}?{query.replace(signature, "")}',
              f'{path}?{query.replace(expires, str(int(expires) + 1))}', f'{path}?{query.replace(user.id, other.id)}',
              f'{path}?{query}&expires=9999999999', f'{path}?{query}&signature={signature}',
              f"{theirs.split('?')[0]}?{query}", f'{path}?{query}&name=evil.html']
    for address in forged:
        refused = fetch(address)
        assert refused.status_code == 403 and refused.json()['success'] is False, (address, dump(refused))
    assert fetch(url).status_code == 200


def test_sto1_ranges(user):
    url = transform(user, user.type_id('Sepia'))['transformedImageUrl']
    whole = fetch(url)
    size = len(whole.content)
    assert whole.headers['Accept-Ranges'] == 'bytes'
    for spec, part in (('0-99', whole.content[:100]), ('100-', whole.content[100:]), ('-50', whole.content[-50:])):
        reply = fetch(url, Range='bytes=' + spec)
        assert reply.status_code == 206 and reply.content == part, spec
    assert fetch(url, Range='bytes=10-19').headers['Content-Range'] == f'bytes 10-19/{size}'
    assert fetch(url, Range=f'bytes={size}-').status_code == 416
    head = fetch(url, 'HEAD')
    assert head.status_code == 200 and int(head.headers['Content-Length']) == size and not head.content


def test_sto2_files_of_the_local_storage(server, user):
    job = transform(user, user.type_id('Sepia'))
    key, mime, sha256, size = server.sql('SELECT key, mime, sha256, bytes FROM pixshift.images WHERE job_id = %s',
                                         (job['id'],))[0]
    path = server.dir / 'images' / key
    data = path.read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (sha256, size)
    assert fetch(job['transformedImageUrl']).content == data
    assert user.get(f"/api/transformations/{job['id']}/download").headers['Content-Type'] == mime
    assert path.stat().st_mode & 0o007 == 0, 'not for everybody on the machine'
    assert not [p for p in path.parent.iterdir() if key.rsplit('/', 1)[1] not in p.name], 'no temporary files'


def test_sto3_deletion_takes_the_object_and_tells_the_row(clocked):
    user = clocked.sign_up()
    job = transform(user, user.type_id('Sepia'))
    assert user.get(f"/api/transformations/{job['id']}/download").status_code == 200
    row = lambda: clocked.sql('SELECT state, deleted_at IS NOT NULL, first_downloaded_at IS NOT NULL, key'
                              ' FROM pixshift.images WHERE job_id = %s', (job['id'],))[0]
    wait_for(lambda: row()[2], 5, what='the time of the download')
    path = clocked.dir / 'images' / row()[3]
    assert path.exists()
    move(clocked, 5 * MINUTE + MINUTE // 60)
    wait_for(lambda: row()[:2] == ('deleted', True), 10, what='the deletion')
    assert not path.exists()
    shown = user.get(f"/api/transformations/{job['id']}").json()['transformation']
    assert shown['status'] == 'COMPLETED' and not shown['transformedImageUrl']
    gone = fetch(job['transformedImageUrl'])
    assert gone.status_code == 404 and gone.json()['error']['details']['reason'] == 'expired'


def test_sto6_base64_of_a_result(user):
    job = tryon(user)
    packed = user.get(f"/api/v1/tryon/{job['job_id']}/base64")
    assert list(packed.json()) == ['image_base64']
    assert base64.b64decode(packed.json()['image_base64'], validate=True) == fetch(job['output_image_url']).content
    assert int(packed.headers['Content-Length']) == len(packed.content)


# ---- errors -----------------------------------------------------------------------------------------------------

class Clocked(Vendor):
    """Also notes when it was asked."""
    times = []

    def _check(self, line, headers, body):
        self.times.append(time.monotonic())
        return super()._check(line, headers, body)


@pytest.fixture(scope='module')
def vendor(tmp_path_factory):
    """(server, vendor): the only provider of transformations."""
    folder = tmp_path_factory.mktemp('vendor')
    os.chmod(folder, 0o755)
    so, key = template_plugin.build(folder, PREFIX), folder / 'vendor.key'
    key.write_text(KEY)
    key.chmod(0o600)
    with Clocked(photo(160, 120)) as fake, Server(folder / 'px', providers={'transformation': 'painter'}, extra=f'''
<PixShiftPlugin painter {so}>
    ApiKey  file:{key}
    BaseURL {fake.url}
    Timeout 2s
</PixShiftPlugin>
PixShiftEgressAllow "127.0.0.0/8"
''') as running:
        running.expect_log(r'PXS3\d{3}', r'PXS6\d{3}')
        yield running, fake


def test_err5_transient_failures_are_tried_again_with_growing_pauses(vendor):
    """Also TRF-8: three calls, the first pause a second, the next twice as long (each within 20 %)."""
    server, fake = vendor
    fake.script, fake.times[:] = ['500', '503', 'ok'], []
    user = server.sign_up()
    assert transform(user, user.type_id('Sepia'))['status'] == 'COMPLETED'
    assert len(fake.times) == 3 and not fake.faults
    first, second = fake.times[1] - fake.times[0], fake.times[2] - fake.times[1]
    assert 0.7 < first < 1.6 and 1.5 < second < 2.9, (first, second)
    assert len({call['key'] for call in fake.calls}) == 1, 'the vendor can tell that it is the same'
    assert user.get('/api/v1/credits').json()['total_used'] == 1


def test_err5_lasting_failures_are_not(vendor):
    """Also TRF-9: FAILED, a line in the log, an event for whoever wants to be told."""
    server, fake = vendor
    fake.script, fake.times[:] = ['refused'], []
    user = server.sign_up()
    job = transform(user, user.type_id('Sepia'), **{'X-Request-Id': 'trf9'})
    assert job['status'] == 'FAILED' and job['errorMessage'] and len(fake.times) == 1
    assert user.get('/api/v1/credits').json()['total_used'] == 0
    told = server.sql("SELECT payload->>'error_message' FROM pixshift.outbox WHERE topic = 'transformation.failed'"
                      " AND aggregate_id = %s", (job['id'],))
    assert told == [(job['errorMessage'],)]


def test_err6_errors_are_logged_with_who_what_and_where(server, user):
    mark = 'err6-' + uuid.uuid4().hex[:8]
    path = f'/api/transformations/{NOBODY}'
    assert user.get(path + '?x=1', headers={'X-Request-Id': mark}).status_code in (400, 404)
    assert user.put(path, json={'action': 'cancel'}, headers={'X-Request-Id': mark + 'b'}).status_code == 404
    assert server.anonymous().get('/api/v1/auth/me', headers={'X-Request-Id': mark + 'c'}).status_code == 401
    lines = [line for line in server.log().splitlines() if mark in line]
    assert len(lines) == 3, lines
    assert f'GET {path}' in lines[0] and f'request {mark}, user {user.id}' in lines[0]
    assert f'PUT {path}: 404 NOT_FOUND' in lines[1] and f'request {mark}b, user {user.id}' in lines[1]
    assert 'GET /api/v1/auth/me: 401' in lines[2] and f'request {mark}c, user -' in lines[2]
    assert all(re.match(r'\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.\d+ \d{4}\]', line) for line in lines), 'and when'


# ---- observing --------------------------------------------------------------------------------------------------

def test_obs1_one_id_through_every_layer(vendor):
    server, fake = vendor
    fake.script = ['ok']
    user, mark = server.sign_up(), 'obs1-' + uuid.uuid4().hex[:8]
    kind = user.type_id('Sepia')
    job = transform(user, kind, **{'X-Request-Id': mark})
    assert server.value('SELECT request_id FROM pixshift.jobs WHERE id = %s', (job['id'],)) == mark
    line = wait_for(lambda: [x for x in (server.dir / 'log/access.log').read_text().splitlines() if f'id={mark}' in x],
                    5, what='the access log')
    assert any('POST /api/transformations ' in x for x in line)
    ids = {user.get('/api/v1/credits').headers['X-Request-Id'] for _ in range(20)}
    assert len(ids) == 20, 'each request has its own'


def test_obs2_logs_have_fields(server, user):
    job = transform(user, user.type_id('Sepia'))
    path = f"/api/transformations/{job['id']}"
    mark = 'obs2-' + uuid.uuid4().hex[:8]
    assert user.get(path, headers={'X-Request-Id': mark}).status_code == 200
    line = wait_for(lambda: [x for x in (server.dir / 'log/access.log').read_text().splitlines() if mark in x], 5)[0]
    assert re.search(rf'"GET {path} HTTP/1.1" 200 \d+ user={user.id} job={job["id"]} id={mark}$', line), line
    own = [x for x in server.log().splitlines() if '[pixshift:' in x]
    assert own and not [x for x in own if not re.search(r'\bPXS\d{4}: ', x)]


def metrics(server):
    text = fetch(server.url + '/metrics').text
    return {name: int(value) for name, value in re.findall(r'^(pixshift_\w+(?:\{[^}]*\})?) (-?\d+)$', text, re.M)}


def test_obs6_counters_move(server, user):
    kind = user.type_id('Sepia')
    before = metrics(server)
    transform(user, kind)
    user.get(f'/api/transformations/{NOBODY}')
    user.upload(b'no picture')
    moved = lambda: {name: value - before.get(name, 0) for name, value in metrics(server).items()}
    wait_for(lambda: moved()['pixshift_jobs_succeeded_total'] == 1, 5, what='the count of successes')
    now = moved()
    for name, step in (('jobs_created_total', 1), ('credits_held_total', 1), ('credits_captured_total', 1),
                       ('credits_released_total', 0), ('errors_client_total', 2), ('images_refused_total', 1),
                       ('errors_server_total', 0), ('provider_calls_total', 1)):
        assert now['pixshift_' + name] == step, (name, now)
    assert now['pixshift_requests_total'] >= 4 and now['pixshift_request_microseconds_total'] > 0
    reply = fetch(server.url + '/metrics')
    assert reply.headers['Content-Type'].startswith('text/plain; version=0.0.4')
    names = re.findall(r'^# TYPE (\S+)', reply.text, re.M)
    assert len(names) == len(set(names)) and 'pixshift_database_up 1' in reply.text


def test_obs6_health_without_a_database(tmp_path):
    with Server(tmp_path, worker='off') as server:
        server.expect_log(r'PXS\d{4}')
        get = lambda path: fetch(server.url + path)
        assert get('/api/health').json()['status'] == 'ok' and get('/readyz').json()['database'] == 'ok'
        assert {'status', 'database', 'version', 'time'} <= set(get('/api/health').json())
        user = server.sign_up()
        server.pg.stop()
        ready = get('/readyz')
        assert ready.status_code == 503 and int(ready.headers['Retry-After']) >= 1, dump(ready)
        assert ready.json()['error']['code'] == 'SERVICE_UNAVAILABLE'
        assert get('/healthz').status_code == 200, 'the process lives'
        health = get('/api/health')
        assert health.json()['status'] == 'degraded' and health.json()['database'] == 'unavailable'
        assert 'pixshift_database_up 0' in get('/metrics').text and 'pixshift_requests_total' in get('/metrics').text
        refused = user.get('/api/v1/credits')
        assert refused.status_code == 503 and refused.headers['Retry-After'], dump(refused)
        assert not re.search(r'socket|postgres|connection', refused.text, re.I), 'no private detail'
        server.pg.start()
        wait_for(lambda: get('/readyz').status_code == 200, 15, what='readiness')
        assert user.get('/api/v1/credits').status_code == 200
