"""The product's main job over HTTP: sign up, upload, transform, download, delete."""
import io
import re

import pytest
from PIL import Image, ImageChops

from pixshift import Server, photo, wait_for

DAY = 86400 * 1000000


@pytest.fixture(scope='module')
def clocked(tmp_path_factory):
    """A server whose clock the test can move."""
    folder = tmp_path_factory.mktemp('clock')
    clock = folder / 'clock'
    clock.write_text('0')
    clock.chmod(0o644)
    with Server(folder, env={'PIXSHIFT_TEST_CLOCK': str(clock)}) as running:
        running.clock = clock
        yield running


def create(user, name='Pencil Sketch', data=None, **kwargs):
    upload = user.upload(data or photo())
    assert upload.status_code == 200, upload.text
    body = {'imageUrl': upload.json()['imageUrl'], 'transformationTypeId': user.type_id(name)}
    return user.post('/api/transformations', json=body, **kwargs)


def finished(user, job):
    def look():
        state = user.get(f'/api/transformations/{job}').json()['transformation']
        return state if state['status'] in ('COMPLETED', 'FAILED') else None
    return wait_for(look, 30, what='the transformation')


def test_whole_story(server, user):
    picture = photo(640, 480)
    upload = user.upload(picture)
    assert upload.status_code == 200
    assert upload.json()['success'] is True
    assert set(upload.json()) == {'success', 'imageUrl', 'imageId'}

    types = user.get('/api/transformation-types').json()['types']
    assert len(types) >= 6
    assert set(types[0]) == {'id', 'name', 'description', 'enabled'}

    before = user.get('/api/v1/credits').json()
    reply = user.post('/api/transformations', json={
        'imageUrl': upload.json()['imageUrl'], 'transformationTypeId': user.type_id('Pencil Sketch')})
    assert reply.status_code == 200, reply.text
    made = reply.json()
    assert made['success'] is True
    assert made['transformation']['status'] == 'PENDING'
    assert set(made['transformation']) >= {'id', 'status', 'createdAt'}

    done = finished(user, made['transformation']['id'])
    assert done['status'] == 'COMPLETED'
    assert set(done) >= {'id', 'status', 'originalImageUrl', 'transformedImageUrl', 'createdAt', 'updatedAt'}
    # A URL of ours works without credentials until it expires.
    assert server.anonymous().session.get(done['transformedImageUrl'], timeout=10).status_code == 200

    download = user.get(f"/api/transformations/{made['transformation']['id']}/download")
    assert download.status_code == 200
    result = Image.open(io.BytesIO(download.content)).convert('RGB')
    original = Image.open(io.BytesIO(picture)).convert('RGB')
    assert result.size == original.size
    difference = ImageChops.difference(result, original).convert('L')
    assert sum(difference.getdata()) / (640 * 480) > 20, 'the picture hardly changed'
    assert download.headers['content-disposition'].startswith('attachment')
    assert download.headers['x-content-type-options'] == 'nosniff'

    after = user.get('/api/v1/credits').json()
    assert after['total_used'] == before['total_used'] + 1
    assert user.get('/api/billing/free-tier').json() == {
        'freeTierUsed': 1, 'freeTierLimit': 5, 'remaining': 4}
    assert server.violations() == []


def test_prefer_wait_returns_the_finished_job(user):
    reply = create(user, headers={'Prefer': 'wait=30'})
    assert reply.status_code == 200, reply.text
    assert reply.json()['transformation']['status'] == 'COMPLETED'


def test_five_minutes_after_download_the_result_is_gone(clocked):
    """C-15, STO-3: several downloads inside the window, 404 with the reason after it."""
    user = clocked.sign_up()
    job = create(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    path = f'/api/transformations/{job}/download'
    assert user.get(path).status_code == 200
    assert user.get(path).status_code == 200
    wait_for(lambda: clocked.value('SELECT count(*) FROM pixshift.images WHERE delete_after IS NOT NULL'
                                   ' AND first_downloaded_at IS NOT NULL'), what='the download mark')
    now = int(clocked.clock.read_text())
    clocked.clock.write_text(str(now + 6 * 60 * 1000000))
    wait_for(lambda: user.get(path).status_code == 404, 20, what='the deletion')
    gone = user.get(path)
    assert gone.json()['error']['code'] == 'NOT_FOUND'
    assert gone.json()['error']['details']['reason'] == 'expired'


def test_never_downloaded_result_lives_a_day(clocked):
    user = clocked.sign_up()
    job = create(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    files = lambda: [p for p in (clocked.dir / 'images').rglob('*') if p.is_file() and job in p.name]
    assert len(files()) == 1
    assert re.fullmatch(r'transformations', files()[0].parts[len((clocked.dir / 'images').parts)])
    clocked.clock.write_text(str(int(clocked.clock.read_text()) + DAY + DAY // 24))
    wait_for(lambda: not files(), 20, what='the sweep')


def test_foreign_jobs_do_not_exist(server, user):
    """USER-7: owner or admin; 404 for everybody else."""
    job = create(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    other = server.sign_up()
    for path in (f'/api/transformations/{job}', f'/api/transformations/{job}/download'):
        assert other.get(path).status_code == 404
        assert server.anonymous().get(path).status_code == 401
    assert server.admin().get(f'/api/transformations/{job}').status_code == 200


def test_another_users_upload_cannot_be_used(server, user):
    """C-13: own signed URLs only."""
    url = server.sign_up().upload(photo()).json()['imageUrl']
    reply = user.post('/api/transformations', json={
        'imageUrl': url, 'transformationTypeId': user.type_id('Vivid Colours')})
    assert reply.status_code in (400, 403, 404), reply.text


def test_list_and_cancel_words(user):
    """C-29: list shape; PUT takes action only."""
    job = create(user, headers={'Prefer': 'wait=30'}).json()['transformation']['id']
    listed = user.get('/api/transformations?page=1&limit=5').json()
    assert listed['pagination'] == {'page': 1, 'limit': 5, 'total': 1}
    assert listed['transformations'][0]['id'] == job
    wrong = user.put(f'/api/transformations/{job}', json={'status': 'FAILED'})
    assert wrong.status_code == 400 and 'status' in wrong.text
    late = user.put(f'/api/transformations/{job}', json={'action': 'cancel'})
    assert late.status_code == 409, late.text


def test_same_paths_under_v1(user):
    """C-1: /api paths are served under /api/v1 where TrailRoom has no such route, with the dialect of their route."""
    types = user.get('/api/v1/transformation-types')
    assert types.status_code == 200 and types.json() == user.get('/api/transformation-types').json()
    error = user.get('/api/v1/transformations/00000000-0000-7000-8000-000000000000').json()
    assert error['error']['code'] == 'NOT_FOUND' and 'requestId' in error['error'] and error['success'] is False


@pytest.mark.parametrize('name', ['Sepia', 'Pencil Sketch', 'Poster', 'Vivid Colours', 'Background Blur', 'Golden Crown'])
def test_each_bundled_type_changes_the_picture(server, name):
    user = server.sign_up()
    picture = photo(300, 300, seed=7)
    reply = create(user, name, picture, headers={'Prefer': 'wait=30'}).json()['transformation']
    assert reply['status'] == 'COMPLETED'
    content = user.get(f"/api/transformations/{reply['id']}/download").content
    difference = ImageChops.difference(Image.open(io.BytesIO(content)).convert('RGB'),
                                       Image.open(io.BytesIO(picture)).convert('RGB'))
    assert difference.getbbox() is not None
