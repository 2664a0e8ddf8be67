"""The studio's routes beside the main job: types, prompts, try-ons, upscaling, jobs, files, admins."""
import base64
import io

import pytest
from PIL import Image

from pixshift import Server, photo, wait_for


@pytest.fixture(scope='module')
def admin(server):
    return server.admin()


def ended(user, path, field='status'):
    return wait_for(lambda: (lambda j: j if j[field] in ('completed', 'failed') else None)(user.get(path).json()),
                    30, what=path)


def transform(user, name='Sepia', **kwargs):
    image = kwargs.pop('image', None) or user.upload(photo()).json()['imageUrl']
    return user.post('/api/transformations', headers={'Prefer': 'wait=30'}, **kwargs, json={
        'imageUrl': image, 'transformationTypeId': user.type_id(name)})


# ---- references to images (C-13)

def test_every_form_of_reference(user):
    picture = photo(200, 200)
    upload = user.upload(picture).json()
    kind = user.type_id('Sepia')
    text = base64.b64encode(picture).decode()
    for body in ({'imageUrl': upload['imageUrl']}, {'imageId': upload['imageId']}, {'imageUrl': upload['imageId']},
                 {'imageUrl': 'data:image/png;base64,' + text}, {'imageUrl': text}):
        reply = user.post('/api/transformations', json={**body, 'transformationTypeId': kind},
                          headers={'Prefer': 'wait=30'})
        assert reply.status_code == 200, reply.text
        assert reply.json()['transformation']['status'] == 'COMPLETED'
        assert reply.json()['transformation']['originalImageUrl']
    reply = user.post('/api/transformations', files={'image': ('a.png', picture, 'image/png')},
                      data={'transformationTypeId': kind}, headers={'Prefer': 'wait=30'})
    assert reply.json()['transformation']['status'] == 'COMPLETED', reply.text


def test_references_that_are_refused(server, user):
    kind = user.type_id('Sepia')
    mine = user.upload(photo()).json()
    forged = mine['imageUrl'][:-4] + ('AAAA' if mine['imageUrl'][-4:] != 'AAAA' else 'BBBB')
    other = server.sign_up()
    theirs = other.upload(photo()).json()
    for value in (forged, theirs['imageUrl'], theirs['imageId'], 'http://example.org/a.png', 'photo.png',
                  'https://user:pw@example.org/a.png', server.url + '/api/admin/stats', '/etc/passwd'):
        reply = user.post('/api/transformations', json={'imageUrl': value, 'transformationTypeId': kind})
        assert reply.status_code == 400, (value, reply.text)
        assert reply.json()['error']['details']['field'] == 'imageUrl'
    both = user.post('/api/transformations', json={'imageUrl': mine['imageUrl'], 'imageId': mine['imageId'],
                                                   'transformationTypeId': kind})
    assert both.status_code == 400
    none = user.post('/api/transformations', json={'transformationTypeId': kind})
    assert none.json()['error']['details']['field'] == 'imageUrl'


def test_forged_or_expired_file_addresses(server, user):
    url = user.upload(photo()).json()['imageUrl']
    get = server.anonymous().session.get
    good = get(url, timeout=10)
    assert good.status_code == 200
    assert good.headers['x-content-type-options'] == 'nosniff'
    assert 'sandbox' in good.headers['content-security-policy']
    assert get(url, headers={'Range': 'bytes=0-9'}, timeout=10).status_code == 206
    assert get(url.replace('user=', 'user=x'), timeout=10).status_code == 403
    assert get(url.split('?')[0], timeout=10).status_code == 403


# ---- types

def test_types_of_admins(server, user, admin):
    made = admin.post('/api/admin/transformation-types', json={
        'name': 'Charcoal', 'description': 'Dark.', 'promptTemplate': 'Draw it in charcoal.'})
    assert made.status_code == 200, made.text
    kind = made.json()['type']
    assert kind['usageCount'] == 0 and kind['enabled'] is True
    assert user.type_id('Charcoal') == kind['id'], 'seen at once, in every process'
    again = admin.post('/api/admin/transformation-types', json={'name': 'charcoal', 'promptTemplate': 'x'})
    assert again.status_code == 400 and again.json()['error']['details']['field'] == 'name'
    path = f"/api/admin/transformation-types/{kind['id']}"
    assert admin.put(path, json={'enabled': False}).json()['type']['enabled'] is False
    assert 'Charcoal' not in user.get('/api/transformation-types').text
    hidden = user.post('/api/transformations', json={'imageId': user.upload(photo()).json()['imageId'],
                                                     'transformationTypeId': kind['id']})
    assert hidden.status_code == 400
    assert admin.put(path, json={'description': 'Darker.'}).json()['type']['enabled'] is False
    assert admin.delete(path).json() == {'success': True}
    assert admin.delete(path).status_code == 404
    assert user.get('/api/admin/transformation-types').status_code == 403
    actions = server.sql("SELECT action FROM pixshift.audit_log WHERE entity_id = %s ORDER BY created_at", (kind['id'],))
    assert [a for a, in actions] == ['transformation_type.create', 'transformation_type.update',
                                     'transformation_type.update', 'transformation_type.delete']


def test_used_types_are_hidden_and_the_last_one_stays(tmp_path):
    """C-16."""
    with Server(tmp_path, worker='off') as server:
        user, admin = server.sign_up(), server.admin()
        job = user.post('/api/transformations', json={
            'imageUrl': user.upload(photo()).json()['imageUrl'], 'transformationTypeId': user.type_id('Sepia')})
        job = job.json()['transformation']['id']
        path = '/api/admin/transformation-types/' + user.type_id('Sepia')
        busy = admin.delete(path)
        assert busy.status_code == 400 and busy.json()['error']['code'] == 'VALIDATION_ERROR'
        assert busy.json()['error']['details'] == {'reason': 'in_use', 'openJobs': 1}
        assert user.put(f'/api/transformations/{job}', json={'action': 'cancel'}).status_code == 200
        assert admin.delete(path).status_code == 200
        assert user.get(f'/api/transformations/{job}').status_code == 200, 'history still resolves'
        types = admin.get('/api/admin/transformation-types').json()['types']
        for kind in types[1:]:
            assert admin.delete(f"/api/admin/transformation-types/{kind['id']}").status_code == 200
        last = f"/api/admin/transformation-types/{types[0]['id']}"
        assert admin.delete(last).status_code == 400
        assert admin.put(last, json={'enabled': False}).status_code == 400


# ---- transformations

def test_cancel_and_retry(tmp_path):
    with Server(tmp_path, worker='off') as server:
        user = server.sign_up()
        made = user.post('/api/transformations', json={
            'imageUrl': user.upload(photo()).json()['imageUrl'], 'transformationTypeId': user.type_id('Sepia')})
        path = f"/api/transformations/{made.json()['transformation']['id']}"
        assert user.get(path + '/download').status_code == 409
        assert user.put(path, json={'action': 'retry'}).status_code == 409
        canceled = user.put(path, json={'action': 'cancel'}).json()
        assert canceled['success'] is True
        assert canceled['transformation']['status'] == 'FAILED' and canceled['transformation']['errorMessage']
        assert user.get(path + '/download').status_code == 404
        again = user.put(path, json={'action': 'retry'})
        assert again.status_code == 200 and again.json()['transformation']['status'] == 'PENDING', again.text
        listed = user.get('/api/transformations?status=PENDING').json()
        assert listed['pagination']['total'] == 1
        assert user.get('/api/transformations?status=DONE').status_code == 400
        assert server.violations() == []


def test_free_tier_words(server):
    """C-19: the words of /api, the numbers stay."""
    user = server.sign_up()
    url = user.upload(photo(120, 120)).json()['imageUrl']
    for _ in range(8):
        assert transform(user, image=url).status_code == 200
    refused = transform(user, image=url)
    assert refused.status_code == 402, refused.text
    assert refused.json()['error']['code'] == 'FREE_TIER_EXHAUSTED'
    assert refused.json()['error']['details']['required'] == 1
    v1 = user.post('/api/v1/tryon', json={'user_image': url, 'top_image': url, 'mode': 'full'})
    assert v1.status_code == 402 and v1.json()['error']['code'] == 'INSUFFICIENT_CREDITS', v1.text


# ---- try-ons

def test_tryon_story(server, user):
    person, top = photo(300, 400, seed=3), photo(200, 200, seed=4)
    text = 'data:image/png;base64,' + base64.b64encode(top).decode()
    key = user.with_key()
    made = key.post('/api/v1/tryon', json={'user_image': base64.b64encode(person).decode(), 'top_image': text,
                                           'mode': 'top'})
    assert made.status_code == 202, made.text
    assert set(made.json()) >= {'job_id', 'status', 'credits_used'} and made.json()['credits_used'] == 1
    assert made.headers['location'] and made.headers['retry-after']
    job = f"/api/v1/tryon/{made.json()['job_id']}"
    done = ended(key, job)
    assert done['status'] == 'completed', str(done) + server.log_tail(4)
    assert done['credits_used'] == 1 and done['completed_at']
    picture = Image.open(io.BytesIO(server.anonymous().session.get(done['output_image_url'], timeout=10).content))
    packed = key.get(job + '/base64')
    assert packed.headers['content-type'] == 'application/json'
    assert Image.open(io.BytesIO(base64.b64decode(packed.json()['image_base64'], validate=True))).size == picture.size
    assert key.get('/api/v1/tryon/history').status_code == 403, 'KEY-5'
    assert key.delete(job).status_code == 403
    history = user.get('/api/v1/tryon/history?mode=top&status=completed&limit=5').json()
    assert (history['total'], history['page'], history['limit']) == (1, 1, 5)
    assert user.get('/api/v1/tryon/history?mode=full').json()['total'] == 0
    prompt = server.value('SELECT prompt_used FROM pixshift.jobs WHERE id = %s', (made.json()['job_id'],))
    assert 'upper garment' in prompt and 'You dress' in prompt
    assert user.delete(job).json() == {'message': 'Job deleted'}
    assert user.get(job).status_code == 404
    wait_for(lambda: server.anonymous().session.get(done['output_image_url'], timeout=10).status_code == 404, 20,
             what='the end of the deleted result')
    assert server.violations() == []


def test_tryon_refusals(user):
    image = user.upload(photo(200, 200)).json()['imageId']
    for body, field in (({'user_image': image, 'mode': 'top'}, 'top_image'),
                        ({'user_image': image, 'top_image': image, 'mode': 'half'}, 'mode'),
                        ({'user_image': image, 'top_image': image, 'bottom_image': image, 'mode': 'top'},
                         'bottom_image'),
                        ({'user_image': 'x', 'top_image': image, 'mode': 'top'}, 'user_image')):
        reply = user.post('/api/v1/tryon', json=body)
        assert reply.status_code == 400 and reply.json()['error']['details']['field'] == field, reply.text


def test_tryon_multipart_full(user):
    files = {name: ('a.png', photo(150, 150, seed=n), 'image/png')
             for n, name in enumerate(('user_image', 'top_image', 'bottom_image'))}
    made = user.post('/api/v1/tryon', files=files, data={'mode': 'full'}, headers={'Prefer': 'wait=30'})
    assert made.status_code == 200, made.text
    assert made.json()['status'] == 'completed' and made.json()['credits_used'] == 2


# ---- prompts

def test_prompt_versions(server, user, admin):
    first = admin.get('/api/v1/admin/prompts/active/top').json()['prompt']
    assert first['type'] == 'top_only' and first['version'] == 1
    path = '/api/v1/admin/prompts'
    assert user.get(path).status_code == 403
    changed = admin.put(f"{path}/{first['id']}", json={'content': 'Only the shirt changes.', 'notes': 'shorter'})
    assert changed.status_code == 200, changed.text
    assert changed.json()['prompt']['version'] == 2 and changed.json()['prompt']['is_active'] is True
    assert admin.get(path + '/active/top').json()['prompt']['id'] == changed.json()['prompt']['id']
    draft = admin.post(path, json={'type': 'top_only', 'content': 'A third one.'})
    assert draft.status_code == 201 and draft.json()['prompt']['is_active'] is False
    assert admin.put(f"{path}/{draft.json()['prompt']['id']}", json={'is_active': True}).json()['prompt']['is_active']
    back = admin.post(f"{path}/{first['id']}/rollback", json={})
    assert back.json()['prompt']['is_active'] is True and back.json()['prompt']['version'] == 1
    listed = admin.get(path + '?type=top_only').json()
    assert [p['is_active'] for p in listed['prompts']] == [False, False, True] and listed['total'] == 3
    assert server.value("SELECT count(*) FROM pixshift.audit_log WHERE entity_type = 'PROMPT'") == 4
    assert admin.get(path + '/active/nothing').status_code == 400


# ---- upscaling and generation

def test_upscale_answers_inline(user):
    reply = user.post('/api/upscale', files={'image': ('a.png', photo(120, 100), 'image/png')},
                      data={'scale': '2', 'mode': 'standard', 'format': 'webp'})
    assert reply.status_code == 200, reply.text
    data = reply.json()['data']
    assert reply.json()['success'] is True and data['status'] == 'COMPLETED' and data['creditsUsed'] == 1
    assert data['metadata']['scale'] == 2 and data['metadata']['mode'] == 'standard'
    assert data['metadata']['inputSize']['width'] == 120 and data['metadata']['outputSize']['width'] == 240
    content = user.session.get(data['outputUrl'], timeout=10)
    assert Image.open(io.BytesIO(content.content)).size == (240, 200)
    assert content.headers['content-type'] == 'image/webp'
    wrong = user.post('/api/upscale', json={'image': 'x', 'scale': 3})
    assert wrong.status_code == 400 and wrong.json()['error']['details']['field'] == 'scale'


def test_retention_none_gives_the_bytes_once(tmp_path):
    """C-14."""
    with Server(tmp_path, extra='PixShiftRetention enhancement none') as server:
        user = server.sign_up()
        reply = user.post('/api/upscale', files={'image': ('a.png', photo(120, 100), 'image/png')}).json()
        data = reply['data']
        assert data['status'] == 'COMPLETED' and data['outputUrl'] is None, reply
        assert Image.open(io.BytesIO(base64.b64decode(data['imageBase64']))).size == (240, 200)
        later = user.get(f"/api/upscale/{data['jobId']}").json()['data']
        assert 'imageBase64' not in later and later['imageExpired'] is True


def test_generate(user):
    made = user.post('/api/v1/generate', json={'prompt': 'A lighthouse at dusk', 'width': 256, 'height': 256})
    assert made.status_code == 202, made.text
    done = ended(user, f"/api/v1/generate/{made.json()['job_id']}")
    assert done['status'] == 'completed' and done['image_url'] and done['image_id']
    assert user.post('/api/v1/generate', json={'prompt': 'ab'}).status_code == 400
    assert user.post('/api/v1/generate', json={'prompt': 'a' * 301}).status_code == 400


# ---- jobs

def test_job_list_and_admin(server, user, admin):
    job = transform(user).json()['transformation']['id']
    listed = user.get('/api/v1/jobs?operation=transformation&status=completed').json()
    assert [j['id'] for j in listed['jobs']] == [job] and listed['total'] == 1
    assert user.get('/api/jobs').json()['jobs'][0]['status'] == 'COMPLETED'
    assert user.post(f'/api/v1/jobs/{job}/cancel').status_code == 409
    everybody = admin.get(f'/api/v1/admin/jobs?user_id={user.id}&limit=3').json()
    assert everybody['total'] == 1 and everybody['jobs'][0]['user_id'] == user.id
    assert user.get('/api/v1/admin/jobs').status_code == 403
    path = f'/api/v1/admin/jobs/{job}'
    before = user.get('/api/credits').json()['balance']
    back = admin.post(path + '/refund', json={'reason': 'a blurred result'})
    assert back.status_code == 200 and back.json()['credits_refunded'] == 1, back.text
    assert user.get('/api/credits').json()['balance'] == before + 1
    assert admin.post(path + '/refund', json={}).status_code == 409
    assert admin.post(path + '/retry', json={}).status_code == 409
    assert server.value("SELECT count(*) FROM pixshift.audit_log WHERE entity_type = 'JOB'") == 1
    assert server.violations() == []


def test_admin_retry(tmp_path):
    with Server(tmp_path, worker='off') as server:
        user, admin = server.sign_up(), server.admin()
        made = user.post('/api/v1/generate', json={'prompt': 'A lighthouse'}).json()
        assert user.post(f"/api/v1/jobs/{made['job_id']}/cancel").json()['state'] == 'canceled'
        again = admin.post(f"/api/v1/admin/jobs/{made['job_id']}/retry", json={'reason': 'asked for'})
        assert again.status_code == 200 and again.json()['job']['state'] == 'queued', again.text + server.log_tail(3)
        assert server.violations() == []


def test_what_admin_roles_include(server, user):
    """Support works with jobs, finance with money, super with everything."""
    support, finance = server.admin('support'), server.admin('finance')
    job = transform(user).json()['transformation']['id']
    kind = {'name': 'Fresco', 'promptTemplate': 'Paint it.'}
    for who in (support, finance):
        assert who.post('/api/admin/transformation-types', json=kind).status_code == 403
        assert who.post('/api/v1/admin/prompts', json={'type': 'system', 'content': 'x'}).status_code == 403
        assert who.get('/api/admin/transformation-types').status_code == 200
    assert finance.post(f'/api/v1/admin/jobs/{job}/retry', json={}).status_code == 403
    assert support.post(f'/api/v1/admin/jobs/{job}/retry', json={}).status_code == 409
    assert finance.post(f'/api/v1/admin/jobs/{job}/refund', json={}).status_code == 200
