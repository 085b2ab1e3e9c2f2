"""Laws of a run, with the models, the queue and the store all real."""

import asyncio
import gc
import hashlib
import io
import json
import threading
import time
import weakref
from functools import partial

import pytest
import torch
from PIL import Image

from servers import url_of
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import JobStatus
from services.jobs.request import Rarity
from services.jobs.store import connect, connect_async
from services.objects.keys import savepoint_key
from tests.accepted import accepted
from worker.fit_lock import fit_lock
from worker.heartbeat import Heartbeat
from worker.tasks import Runner

QUICK = accepted(concept="handbag", count=2, steps=2, trials=2, decoder_steps=2, seed=7)
ENDLESS = accepted(concept="handbag", rarity=Rarity(bits=30.0), steps=1000, trials=2, decoder_steps=2, seed=7)


@pytest.fixture
def submit(jobs):
    async def submit(request):
        return (await jobs.submit(request, keep_s=60, max_queued=10)).id

    return submit


async def running_past(jobs, job_id, step):
    """The record, once the run has published this optimisation step."""
    while True:
        record, _ = await jobs.get(job_id)
        assert not record.status.final, record.error
        if record.progress and record.progress.phase == "optimize" and record.progress.step >= step:
            return record
        await asyncio.sleep(0.02)


async def test_pictures_lie_in_the_store_as_the_record_says(jobs, submit, make_runner, storage):
    job_id = await submit(QUICK.model_copy(update={"format": "webp"}))
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, len(record.outputs), record.metrics.attempts) == (JobStatus.SUCCEEDED, 2, 1)
    for output in record.outputs:
        data = storage.get(output.key)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (output.bytes, output.sha256)
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("WEBP", (output.width, output.height))


async def test_hint_too_many_runs_nothing(jobs, submit, make_runner):
    job_id = await submit(QUICK)
    runner = make_runner()
    await asyncio.gather(*(asyncio.to_thread(runner.run_next) for _ in range(3)))
    record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 1)


async def test_cancel_stops_a_run_within_a_step(jobs, submit, make_runner):
    job_id = await submit(ENDLESS)
    run = asyncio.create_task(asyncio.to_thread(make_runner().run_next))
    await running_past(jobs, job_id, step=3)
    await jobs.cancel(job_id)
    (asked, _), _ = await asyncio.gather(jobs.get(job_id), run)
    record, _ = await jobs.get(job_id)
    assert record.status is JobStatus.CANCELED
    assert record.progress.step <= asked.progress.step + 1
    assert record.outputs == []


async def test_stopping_worker_hands_its_job_back_and_the_next_one_makes_the_same_pictures(jobs, submit, make_runner):
    whole, broken = await submit(QUICK), await submit(QUICK)
    await asyncio.to_thread(make_runner().run_next)
    looks = iter(range(100))
    await asyncio.to_thread(make_runner(stopping=lambda: next(looks) > 4).run_next)
    assert (await jobs.get(broken))[0].status is JobStatus.QUEUED
    await asyncio.to_thread(make_runner().run_next)
    first, second = [(await jobs.get(job_id))[0] for job_id in (whole, broken)]
    assert second.attempt == 2
    assert [output.sha256 for output in first.outputs] == [output.sha256 for output in second.outputs]


async def test_run_that_needs_redis_while_it_is_away_is_handed_back(own_redis, models, storage):
    """The server dies at the first step, before the user's history is read, and comes back a moment later."""
    steps = []

    def die_once():
        if not steps:
            own_redis.kill()
            threading.Timer(1, own_redis.start).start()
        steps.append(1)
        return False

    async with connect_async(url_of(own_redis)) as gateway_client:
        jobs = Jobs(gateway_client)
        request = QUICK.model_copy(update={"exposure": "user-7"})
        job_id = (await jobs.submit(request, keep_s=60, max_queued=9)).id
        with connect(url_of(own_redis)) as client:
            leases = Leases(client, worker="worker-1", lease_s=30)
            options = {"fit_lock": partial(fit_lock, client, 30), "run_limit_s": 600, "stopping": lambda: False}
            runner = Runner(leases, storage, models, Heartbeat(leases, 10), hand_back=die_once, **options)
            await asyncio.to_thread(runner.run_next)
            assert (await jobs.get(job_id))[0].status is JobStatus.QUEUED
            await asyncio.to_thread(runner.run_next)
        record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 2)


async def test_handed_back_run_goes_on_from_its_savepoint_and_ends_the_same(jobs, submit, make_runner, tmp_path):
    request = ENDLESS.model_copy(update={"steps": 60})
    whole, broken = await submit(request), await submit(request)
    looks = []
    await asyncio.to_thread(make_runner(stopping=lambda: looks.append("whole")).run_next)
    left = iter(range(len(looks) - 10))
    await asyncio.to_thread(make_runner(stopping=lambda: next(left, None) is None).run_next)
    assert len([*(tmp_path / "objects/jobs" / broken).rglob("run.safetensors")]) == 1
    await asyncio.to_thread(make_runner(stopping=lambda: looks.append("rest")).run_next)
    assert 0 < looks.count("rest") < looks.count("whole") - 20
    first, second = [(await jobs.get(job_id))[0] for job_id in (whole, broken)]
    assert (first.status, second.attempt) == (JobStatus.SUCCEEDED, 2)
    assert [output.sha256 for output in first.outputs] == [output.sha256 for output in second.outputs]


async def test_savepoint_that_is_gone_costs_the_way_to_it_and_no_more(jobs, leases, submit, make_runner):
    job_id = await submit(QUICK)
    claim = leases.claim()
    leases.name_savepoint(claim, savepoint_key(job_id, 1, 0))
    leases.hand_back(claim)
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 2)


async def test_superseded_attempt_stops_and_publishes_nothing(jobs, submit, make_runner, redis_url):
    job_id = await submit(ENDLESS)
    run = asyncio.create_task(asyncio.to_thread(make_runner(lease_s=0.01).run_next))
    await running_past(jobs, job_id, step=1)
    with connect(redis_url) as client:
        other = Leases(client, worker="worker-2", lease_s=30)
        other.recover()
        assert other.claim().id == job_id
    await asyncio.wait_for(run, timeout=60)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt, record.progress) == (JobStatus.RUNNING, 2, None)


async def test_attempt_that_is_overtaken_while_it_uploads_erases_what_it_stored(
    jobs, leases, submit, make_runner, storage, tmp_path
):
    job_id = await submit(QUICK)

    class Slow(type(storage)):
        """Another worker has the job by the time that a picture is stored."""

        def put(self, key, data, media_type):
            super().put(key, data, media_type)
            if key.endswith("1/1.png"):
                leases.recover()
                assert leases.claim().id == job_id

    slow = Slow(tmp_path / "objects", signing_key="k", public_url="")
    await asyncio.to_thread(make_runner(lease_s=0, storage=slow).run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt, record.outputs) == (JobStatus.RUNNING, 2, [])
    assert [path for path in (tmp_path / "objects/jobs").rglob("*") if path.is_file()] == []


async def test_run_ends_at_its_deadline(jobs, submit, make_runner):
    job_id = await submit(ENDLESS.model_copy(update={"run_within": 1.0}))
    begin = time.monotonic()
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "run_deadline")
    assert time.monotonic() - begin < 60


async def test_deadline_counts_what_earlier_attempts_have_run(jobs, submit, make_runner, leases):
    job_id = await submit(QUICK.model_copy(update={"run_within": 0.5}))
    claim = leases.claim()
    await asyncio.sleep(0.6)
    leases.hand_back(claim)
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.error.code, record.attempt) == (JobStatus.FAILED, "run_deadline", 2)
    assert record.progress is None


async def test_worker_out_of_memory_lets_go_of_what_the_run_held_and_runs_the_next_job(
    jobs, submit, make_runner, models
):
    """Its tensors hang in a cycle of their own and in one of error and frame: counting references frees neither."""
    held = []

    def exhaust(_part, inputs):
        hook.remove()
        held.append(weakref.ref(inputs[0]))
        cycle = [inputs[0]]
        cycle.append(cycle)
        error = torch.OutOfMemoryError("on purpose")
        raise error

    failing, following = await submit(QUICK.model_copy(update={"count": 1, "trials": 1})), await submit(QUICK)
    runner = make_runner()
    hook = models.model.prior.proj_in.register_forward_pre_hook(exhaust)
    gc.disable()
    try:
        await asyncio.to_thread(runner.run_next)
        assert [tensor() for tensor in held] == [None]
    finally:
        gc.enable()
    await asyncio.to_thread(runner.run_next)
    first, second = [(await jobs.get(job_id))[0] for job_id in (failing, following)]
    assert (first.status, first.error.code, first.attempt) == (JobStatus.FAILED, "out_of_memory", 1)
    assert (second.status, second.attempt) == (JobStatus.SUCCEEDED, 1)


async def test_store_that_is_away_fails_the_job_without_a_second_run(jobs, submit, make_runner, tmp_path, storage):
    (tmp_path / "file").touch()
    job_id = await submit(QUICK)
    await asyncio.to_thread(
        make_runner(storage=type(storage)(tmp_path / "file", signing_key="k", public_url="")).run_next
    )
    record, _ = await jobs.get(job_id)
    assert (record.status, record.error.code, record.attempt) == (JobStatus.FAILED, "storage", 1)
    assert record.progress.phase == "upload"


async def test_events_show_each_trial_where_the_run_has_it(jobs, submit, make_runner):
    job_id = await submit(QUICK)
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    told = [json.loads(event.data) for event in await jobs.events(job_id, "0-0") if event.kind == "progress"]
    assert {len(step["trials"]) for step in told} == {0, 2}
    assert all(bool(step["trials"]) == (step["phase"] == "optimize") for step in told)
    last = [step["trials"] for step in told if step["trials"]][-1]
    for output in record.outputs:
        trial = last[output.seed - record.request.seed]
        assert (trial["bits"], trial["validity"]) == (round(output.rarity.bits, 2), round(output.validity, 3))
    assert "trials" not in record.progress.model_dump()


@pytest.mark.parametrize("asked", [True, False])
async def test_pictures_of_checks_are_shown_while_somebody_asks(jobs, submit, make_runner, asked):
    job_id = await submit(QUICK.model_copy(update={"trials": 3}))
    if asked:
        await jobs.preview(job_id, "", ask_s=60)
    await asyncio.to_thread(make_runner().run_next)
    preview = await jobs.preview(job_id, "", ask_s=60)
    assert (preview is not None) == asked
    if preview:
        assert [picture["trial"] for picture in json.loads(preview[1])["pictures"]] == [0, 1, 2]
