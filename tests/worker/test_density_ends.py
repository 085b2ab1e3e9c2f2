"""A density ends with what it is of: a picture's with the picture, a text's when others have been used since."""

import asyncio
import io
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from PIL import Image

from api.pictures import FoundThings, KeptFound, Upload, Uploads
from services.bounds import Bounds
from services.diffusion.density.subject import Subject
from services.jobs.leases import Leases
from services.jobs.record import Metrics
from services.jobs.request import PictureRef
from services.jobs.store import connect_async
from services.objects.keys import DENSITIES, found_prefix, job_prefix, upload_key, upload_prefix
from services.texts.concepts import DEFAULT_PROMPT
from tests.accepted import accepted
from worker.fit_lock import owned
from worker.sweeper import Sweeper

QUICK = accepted(concept="handbag", count=1, steps=2, trials=1, decoder_steps=2, seed=7)
EXPIRY = "{rarebit}:expiry"


@pytest.fixture
async def uploads(redis_url):
    async with connect_async(redis_url) as client:
        yield Uploads(client)


@pytest.fixture
async def found_things(redis_url):
    async with connect_async(redis_url) as client:
        yield FoundThings(client)


@pytest.fixture
def stores_densities(make_runner, models, storage, monkeypatch):
    """A runner whose densities lie where its outputs do."""
    monkeypatch.setattr(models.densities, "_storage", storage)
    monkeypatch.setattr(models.densities, "_memory", type(models.densities._memory)())
    return make_runner()


@pytest.fixture
def run(jobs, stores_densities):
    async def run(**own):
        request = accepted(**{**QUICK.model_dump(), **own})
        job_id = (await jobs.submit(request, keep_s=60, max_queued=10)).id
        await asyncio.to_thread(stores_densities.run_next)
        record, _ = await jobs.get(job_id)
        assert record.status == "succeeded"
        return record

    return run


@pytest.fixture
def picture(uploads, storage):
    """Upload a picture; its id."""

    async def picture(upload_id="a" * 32):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (200, 0, 0)).save(file, "png")
        expires = datetime.now(UTC) + timedelta(hours=1)
        await uploads.add(Upload(id=upload_id, width=64, height=64, bytes=1, sha256="", expires_at=expires))
        storage.put(upload_key(upload_id), file.getvalue(), "image/png")
        return upload_id

    return picture


@pytest.fixture
def sweep(leases, storage):
    return Sweeper(leases, storage, interval_s=10).sweep


async def test_density_of_an_uploads_variations_is_erased_with_the_upload(run, picture, uploads, storage, sweep):
    upload_id = await picture()
    record = await run(image=PictureRef(upload=upload_id))
    assert record.density.startswith(f"uploads/{upload_id}/{DENSITIES}")
    assert storage.holds(f"{record.density}/")
    await uploads.delete(upload_id)
    sweep()
    assert not storage.holds(f"uploads/{upload_id}/")
    assert [path.name for path in storage.path(DENSITIES).iterdir()] == ["models"]


@pytest.mark.parametrize("ending", ["delete", "expire"])
async def test_density_of_an_outputs_variations_is_erased_with_its_job(run, jobs, storage, sweep, client, ending):
    first = await run()
    record = await run(image=PictureRef(output=f"{first.id}/0"))
    assert record.density.startswith(f"{job_prefix(first.id)}{DENSITIES}")
    if ending == "delete":
        await jobs.delete(first.id)
    else:
        client.zadd(EXPIRY, {job_prefix(first.id): 0})
    sweep()
    assert not storage.holds(job_prefix(first.id))
    assert storage.exists(record.outputs[0].key)


@pytest.fixture
def end_picture(jobs, uploads, found_things, leases, picture):
    """A picture's prefix, and what erases its record."""

    async def upload():
        upload_id = await picture()
        return upload_prefix(upload_id), partial(uploads.delete, upload_id)

    async def output():
        job_id = (await jobs.submit(QUICK, keep_s=60, max_queued=10)).id
        leases.succeed(leases.claim(), [], [], Metrics())
        return job_prefix(job_id), partial(jobs.delete, job_id)

    async def found():
        facts = {"concept": "handbag", "prompt": "a {}", "model": "none", "bits": 1.0, "validity": None}
        kept = KeptFound(id="f" * 32, name="x", width=8, height=8, created_at=datetime.now(UTC), **facts)
        await found_things.keep(kept)
        return found_prefix(kept.id), partial(found_things.drop, kept.id)

    return {"upload": upload, "output": output, "found": found}


@pytest.mark.parametrize("kind", ["upload", "output", "found"])
@pytest.mark.parametrize("erased", ["before", "meanwhile"])
async def test_density_that_is_stored_after_its_picture_was_erased_is_erased_too(
    end_picture, leases, sweep, storage, client, kind, erased
):
    prefix, erase = await end_picture[kind]()
    if erased == "before":
        await erase()
        client.delete(EXPIRY, "{rarebit}:erased-again")
    leases.lend(prefix)
    await erase()
    sweep()
    storage.put(f"{prefix}{DENSITIES}k/density.json", b"", "application/json")
    client.zadd(EXPIRY, {prefix: 0}, xx=True)
    sweep()
    assert not storage.holds(prefix)
    assert client.zcard(EXPIRY) == 0


async def test_densities_of_texts_that_were_used_longest_ago_are_erased(make_densities_of, client, storage, sweep):
    leases = Leases(client, worker="worker-1", lease_s=30, bounds=Bounds(densities=2))
    lamp, chair, bag = (make_densities_of(concept, leases) for concept in ("lamp", "chair", "handbag"))
    assert client.zrange("{rarebit}:densities", 0, -1) == [chair, bag]
    sweep()
    assert [storage.holds(f"{key}/") for key in (lamp, chair, bag)] == [False, True, True]
    leases.use_density(lamp)
    assert client.zrange("{rarebit}:densities", 0, -1) == [bag, lamp]
    assert client.zrange(EXPIRY, 0, -1) == [f"{chair}/"]


@pytest.fixture
def make_densities_of(models, stores_densities):
    def make(concept, leases):
        lock = partial(owned, leases, "", lambda _key, report: nullcontext(report))
        return models.densities.get(Subject(concept, DEFAULT_PROMPT), lambda *_: None, lock).key

    return make


async def test_use_by_a_job_counts(run, client):
    lamp = (await run(concept="lamp")).density
    chair = (await run(concept="chair")).density
    assert client.zrange("{rarebit}:densities", 0, -1) == [lamp, chair]
    await run(concept="lamp")
    assert client.zrange("{rarebit}:densities", 0, -1) == [chair, lamp]


async def test_density_that_was_erased_in_part_is_fitted_again(run, storage, models):
    first = await run()
    storage.path(f"{first.density}/density.safetensors").unlink()
    models.densities._memory.clear()
    assert (await run()).outputs[0].sha256 == first.outputs[0].sha256
