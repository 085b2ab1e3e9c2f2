"""Laws of what a request names: pictures, other jobs' outputs, a user's history."""

import asyncio
import io
import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, save

from services.diffusion.density.subject import Subject
from services.exposure import Feedback, View
from services.jobs.leases import Leases
from services.jobs.record import JobStatus, Metrics
from services.jobs.request import Direction, FoundRef, PictureRef
from services.jobs.store import connect
from services.objects.keys import state_key, upload_key
from services.sampler.densities import Densities
from services.sampler.requests import history_of
from tests.accepted import accepted
from tests.published import store_output
from tests.worker.conftest import local_storage

QUICK = accepted(concept="handbag", count=2, steps=2, trials=4, decoder_steps=2, seed=7)


@pytest.fixture
def run(jobs, make_runner, models):
    """Run a request to its end; its record."""

    async def run(models=models, **own):
        request = accepted(**{**QUICK.model_dump(), **own})
        job_id = (await jobs.submit(request, keep_s=60, max_queued=10)).id
        await asyncio.to_thread(make_runner(models=models).run_next)
        return (await jobs.get(job_id))[0]

    return run


@pytest.fixture
def another(models, storage):
    """What a worker has after a change of the model: the same weights under another fingerprint."""
    model = replace(models.model, fingerprint="f" * 64)
    return replace(models, model=model, densities=Densities(model, storage, samples=500, capacity=1))


async def test_what_was_learnt_lies_beside_each_picture(run, storage, models):
    record = await run()
    state = load(storage.get(state_key(record.id, record.attempt, 1)))
    dim = models.model.prior.config.embedding_dim
    assert state["image_embeds"].shape == (dim,)
    with safe_open(storage.path(state_key(record.id, record.attempt, 1)), "pt") as file:
        assert file.metadata()["model"] == models.model.fingerprint


async def test_who_asked_first_has_no_part_in_what_the_same_text_gives_to_others(jobs, make_runner, models, tmp_path):
    text = QUICK.prompt.replace("{}", "handbag")
    other, plain = {"concept": "4k", "prompt": text.replace("4k", "{}")}, {"concept": "handbag"}
    made = []
    for order in ((plain,), (other, plain)):
        folder = local_storage(tmp_path / str(len(order)))
        own = replace(models, densities=Densities(models.model, folder, samples=500, capacity=1))
        for asked in order:
            request = accepted(**(QUICK.model_dump() | {"space": ["token"]} | asked))
            job_id = (await jobs.submit(request, keep_s=60, max_queued=10)).id
            await asyncio.to_thread(make_runner(models=own).run_next)
        made.append((await jobs.get(job_id))[0])
    alone, second = made
    assert [o.sha256 for o in second.outputs] == [o.sha256 for o in alone.outputs]
    assert [o.replay["recipe"]["concept"] for o in second.outputs] == ["handbag"] * 2
    assert [o.validity for o in second.outputs] == [o.validity for o in alone.outputs] != [None, None]


async def test_avoiding_an_output_or_words_changes_the_pictures_and_the_replay_block(run):
    plain = await run()
    steered = await run(avoid=[Direction(output=f"{plain.id}/0"), Direction(text="red")])
    assert steered.status is JobStatus.SUCCEEDED
    assert [len(o.replay["recipe"]["avoid"]) for o in steered.outputs] == [2, 2]
    assert {o.sha256 for o in plain.outputs}.isdisjoint(o.sha256 for o in steered.outputs)


async def test_what_an_output_learnt_is_drawn_again_and_likeness_is_told(run, storage):
    first = await run(space=["token"])
    again = await run(found=FoundRef(output=f"{first.id}/0"), steps=50, seed=90, prompt="a {} on the beach")
    assert (again.status, again.error, len(again.outputs)) == (JobStatus.SUCCEEDED, None, 2)
    assert {output.seed for output in again.outputs} <= {90, 91, 92, 93}
    for output in again.outputs:
        assert -1 <= output.likeness.embedding <= 1 >= output.likeness.picture >= -1
        assert len(output.replay["found"]) == 64
    assert first.outputs[0].likeness is None
    assert again.progress.phase == "upload"


async def test_what_is_found_of_another_concept_or_not_kept_fails_the_job(run, storage):
    first = await run()
    output = f"{first.id}/1"
    other = await run(found=FoundRef(output=output), steps=50, concept="chair")
    told = f"the output {output} is of the concept ‘handbag’, not of ‘chair’"
    assert (other.error.code, other.error.detail) == ("other_concept", told)
    key = state_key(first.id, first.attempt, 1)
    storage.put(key, save({"image_embeds": load(storage.get(key))["image_embeds"]}), "application/octet-stream")
    before = await run(found=FoundRef(output=output), steps=50)
    assert before.error.code == "checkpoint"
    assert before.error.detail.endswith(f"{output} learnt: only its embedding is kept, and not what was learnt")


async def test_an_uploaded_picture_and_an_output_are_varied_and_the_density_lies_near_it(run, storage, models):
    first = await run()
    start = load(storage.get(state_key(first.id, first.attempt, 0)))["image_embeds"]
    storage.put(upload_key("a" * 32), storage.get(first.outputs[0].key), "image/png")
    for picture in (PictureRef(output=f"{first.id}/0"), PictureRef(upload="a" * 32, strength=0.2)):
        varied = await run(image=picture, toward=[Direction(output="c" * 32 + "/0", weight=0)], variety=0.5)
        assert varied.status is JobStatus.SUCCEEDED
        recipe = varied.outputs[0].replay["recipe"]
        assert (recipe["strength"], recipe["toward"], recipe["variety"]) == (picture.strength, [], 0.5)

    def no_lock(_key, report):
        return nullcontext(report)

    around, plain = (
        models.densities.get(Subject("handbag", QUICK.prompt, s), lambda *_: None, no_lock).density
        for s in (start, None)
    )
    assert (around.subspace.mean - start).norm() < 0.9 * (plain.subspace.mean - start).norm()


@pytest.mark.parametrize(
    "own",
    [
        {"image": PictureRef(upload="b" * 32)},
        {"image": PictureRef(output="c" * 32 + "/0")},
        {"toward": [Direction(output="c" * 32 + "/0")]},
        {"found": FoundRef(output="c" * 32 + "/0"), "steps": 50},
    ],
)
async def test_a_reference_that_is_gone_fails_the_job_and_says_so(run, own):
    record = await run(**own)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "reference_gone")
    assert "is erased" in record.error.detail


async def test_a_history_grows_with_each_job_and_makes_the_same_less_new(run, redis_url):
    first = await run(exposure="somebody")
    again = await run(exposure="somebody")
    other = await run(exposure="somebody else")
    with connect(redis_url) as client:
        views = Leases(client, worker="worker-1", lease_s=30).views("", "somebody")
    assert [view.output for view in views] == [f"{r.id}/{i}" for r in (first, again) for i in (0, 1)]
    assert all(math.isfinite(o.novelty_bits) for r in (first, again, other) for o in r.outputs)
    assert other.outputs[0].novelty_bits == first.outputs[0].novelty_bits
    assert json.loads(json.dumps(first.outputs[0].replay)) == first.outputs[0].replay


async def test_an_upload_may_be_any_still_picture_and_small(run, storage):
    file = io.BytesIO()
    Image.effect_noise((9, 5), 80).convert("RGB").save(file, "png")
    storage.put(upload_key("d" * 32), file.getvalue(), "image/png")
    assert (await run(image=PictureRef(upload="d" * 32))).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("share", [0, 0.5])
async def test_an_uploaded_picture_that_the_store_has_damaged_is_named(run, storage, share):
    file = io.BytesIO()
    Image.effect_noise((90, 90), 80).convert("RGB").save(file, "png")
    data = file.getvalue()
    storage.put(upload_key("d" * 32), data[: int(share * len(data))], "image/png")
    error = (await run(image=PictureRef(upload="d" * 32))).error
    assert (error.code, f"picture {'d' * 32}" in error.detail) == ("unreadable", True)


async def test_a_history_of_another_model_stays_and_does_not_count_and_the_job_says_so(run, another, redis_url, models):
    await run(exposure="somebody")
    anew = await run(exposure="somebody", models=another)
    alone = await run(exposure="nobody", models=another)
    assert anew.warnings[0] == "2 of 2 views of the concept are of another model, and do not count"
    assert anew.warnings[1:] == alone.warnings
    assert [o.novelty_bits for o in anew.outputs] == [o.novelty_bits for o in alone.outputs]
    with connect(redis_url) as client:
        views = Leases(client, worker="worker-1", lease_s=30).views("", "somebody")
    assert [view.model for view in views] == [models.model.fingerprint] * 2 + ["f" * 64] * 2
    back = await run(exposure="somebody")
    assert back.warnings[0] == "2 of 4 views of the concept are of another model, and do not count"


async def test_an_output_of_another_model_fails_the_job_and_is_named(run, another):
    output = f"{(await run()).id}/0"
    for own in ({"image": PictureRef(output=output)}, {"avoid": [Direction(output=output)]}):
        record = await run(models=another, **own)
        assert (record.status, record.error.code) == (JobStatus.FAILED, "other_model")
        assert record.error.detail.startswith(f"the output {output} is of the model ")
        assert "the service has the model ffffffffffff, " in record.error.detail


async def test_an_output_that_names_no_model_is_of_this_one_if_its_dimension_is(run, jobs, leases, storage, models):
    outputs = []
    for dim in (models.model.prior.config.embedding_dim, 3):
        await jobs.submit(QUICK, keep_s=60, max_queued=10)
        claim = leases.claim()
        leases.succeed(claim, [store_output(storage, claim, 0)], [], Metrics())
        key = state_key(claim.id, claim.attempt, 0)
        storage.put(key, save({"image_embeds": torch.ones(dim)}), "application/octet-stream")
        outputs.append(f"{claim.id}/0")
    trusted, refused = [await run(toward=[Direction(output=output)]) for output in outputs]
    assert trusted.status is JobStatus.SUCCEEDED
    assert (refused.error.code, "is of a model of 3 dimensions, " in refused.error.detail) == ("other_model", True)


async def test_what_an_output_learnt_and_the_store_has_damaged_is_named(run, storage):
    first = await run()
    storage.path(state_key(first.id, first.attempt, 0)).write_bytes(b"{")
    error = (await run(toward=[Direction(output=f"{first.id}/0")])).error
    assert (error.code, f"what the output {first.id}/0 learnt" in error.detail) == ("checkpoint", True)


def test_views_of_the_same_concept_and_model_count_and_feedback_sorts_them(models):
    own, dim = models.model.fingerprint, models.model.prior.config.embedding_dim

    def seen(i, concept, feedback, model=own, dim=dim):
        return View.of(f"{'a' * 32}/{i}", concept, feedback, [float(i)] * dim, model)

    views = [
        seen(i, concept, feedback)
        for i, (concept, feedback) in enumerate(
            [("handbag", "liked"), ("chair", "liked"), (" Handbag", "disliked"), ("handbag", Feedback.NEUTRAL)]
        )
    ]
    views += [seen(4, "handbag", "liked", None), seen(5, "handbag", "liked", None, 3)]
    views += [seen(6, "handbag", "liked", "f" * 64)]
    history = history_of(views, "HANDBAG", models.model)
    assert history.seen[:, 0].tolist() == [0, 2, 3, 4]
    assert (history.liked[:, 0].tolist(), history.disliked[:, 0].tolist()) == ([0, 4], [2])
    assert history.warnings() == ("2 of 6 views of the concept are of another model, and do not count",)
    assert history_of([], "handbag", models.model).seen.shape == (0, dim)


LONG = "cup with a handle like a swan, a rim of gold, three feet of brass, a lid of glass and a saucer painted in red"


@pytest.mark.parametrize(
    ("own", "lost"),
    [
        ({"concept": LONG}, "HQ.’"),
        ({"prompt": "very " * 61 + "{}"}, "very handbag’"),
        ({"avoid": [Direction(text=LONG)]}, "HQ.’"),
        ({"toward": [Direction(text=LONG)]}, "HQ.’"),
        ({"prompt": "very " * 28 + "{} here", "space": ["adjective"]}, "lost would be: ‘here’"),
    ],
)
async def test_words_that_the_encoder_would_lose_fail_the_job_before_a_fit(run, monkeypatch, own, lost):
    monkeypatch.setattr("services.sampler.densities.fit_density", None)
    record = await run(**own)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "prompt")
    assert record.error.detail.startswith("the text encoder reads 32 tokens of ")
    assert record.error.detail.endswith(lost)
    assert (record.density, record.metrics.fit_ms) == (None, 0)


async def test_a_guidance_that_the_model_has_not_learnt_fails_the_job_before_a_fit(run, monkeypatch):
    monkeypatch.setattr("services.sampler.densities.fit_density", None)
    record = await run(concept="teapot", guidance_scale=7.5)
    error = record.error
    assert (record.density, record.metrics.fit_ms) == (None, 0)
    assert (error.code, error.detail) == ("decoding", "guidance_scale must be 2, which is learnt, got 7.5")
