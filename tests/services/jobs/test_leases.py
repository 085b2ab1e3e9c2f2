"""Laws of what workers do with jobs, over a real server."""

import asyncio
import time

import pytest

from services.errors import LeaseLostError
from services.jobs.leases import AloneError, Leases
from services.jobs.queue import HINTS
from services.jobs.record import JobStatus, Metrics, Progress
from services.jobs.store import connect
from services.objects.keys import attempt_prefix, job_prefix, savepoint_key
from tests.services.jobs.moves import ERROR, REQUEST, output, status_of, submit, swept

LEASE_S = 0.03


@pytest.fixture
def dying(redis_url):
    """A worker whose leases run out at once, because it never renews them."""
    with connect(redis_url) as client:
        yield Leases(client, worker="dying", lease_s=LEASE_S)


async def outlive_the_lease() -> None:
    await asyncio.sleep(2 * LEASE_S)


async def test_jobs_are_claimed_in_the_order_of_submission(jobs, leases):
    submitted = [await submit(jobs) for _ in range(5)]
    assert [leases.claim().id for _ in submitted] == submitted
    assert leases.claim() is None


async def test_one_job_has_one_claimant(jobs, leases):
    await submit(jobs)
    claims = await asyncio.gather(*(asyncio.to_thread(leases.claim) for _ in range(20)))
    assert len([claim for claim in claims if claim]) == 1


async def test_succeeded_job_keeps_what_the_attempt_published(jobs, leases):
    job_id = await submit(jobs)
    claim = leases.claim()
    assert leases.progress(claim, Progress(phase="optimize", step=3, steps=50, rarity_bits=6.1)) == ("running", False)
    assert leases.succeed(claim, [output()], ["far"], Metrics(optimize_ms=9)) == "succeeded"
    record, place = await jobs.get(job_id)
    assert (record.outputs, record.warnings, record.error, place) == ([output()], ["far"], None, None)
    assert (record.metrics.optimize_ms, record.metrics.attempts) == (9, 1)
    assert record.created_at <= record.started_at <= record.finished_at < record.expires_at


async def test_writes_of_an_earlier_attempt_are_refused(jobs, leases, dying):
    job_id = await submit(jobs)
    stale = dying.claim()
    await outlive_the_lease()
    assert leases.recover() == [job_id]
    fresh = leases.claim()
    assert (stale.attempt, fresh.attempt) == (1, 2)
    with pytest.raises(LeaseLostError):
        leases.succeed(stale, [output("jobs/0/1/0.png")], [], Metrics())
    leases.succeed(fresh, [output("jobs/0/2/0.png")], [], Metrics())
    assert [stored.key for stored in (await jobs.get(job_id))[0].outputs] == ["jobs/0/2/0.png"]


async def test_renewed_lease_is_not_recovered(jobs, leases, dying):
    await submit(jobs)
    claim = dying.claim()
    leases.renew(claim)
    await outlive_the_lease()
    assert leases.recover() == []


async def test_outage_that_outlasts_a_lease_is_nobodys_death(jobs, dying, redis_url):
    """Whoever was cut off from Redis leaves the others the time to renew, and finds the dead at its next call."""
    job_id = await submit(jobs)
    dying.claim()
    with connect(redis_url) as client:
        cut_off = Leases(client, worker="cut off", lease_s=0.6)
        cut_off.recover()
        await asyncio.sleep(0.5)
        assert cut_off.recover() == []
        assert cut_off.recover() == [job_id]


async def test_job_that_two_workers_died_with_fails(jobs, leases, dying):
    job_id = await submit(jobs)
    for _ in range(2):
        dying.claim()
        await outlive_the_lease()
        leases.recover()
    record, _ = await jobs.get(job_id)
    assert (record.status, record.error.code) == (JobStatus.FAILED, "worker_lost")


async def test_job_in_the_company_of_one_that_kills_is_not_taken_for_one(jobs, leases, dying):
    """After a death each job of the dead worker runs alone, so that the next death is the killer's own."""
    killer, innocent = await submit(jobs), await submit(jobs)
    assert [dying.claim().id, dying.claim(busy=True).id] == [killer, innocent]
    await outlive_the_lease()
    assert set(dying.recover()) == {killer, innocent}
    with pytest.raises(AloneError):
        dying.claim(busy=True)
    assert dying.claim().suspect
    await outlive_the_lease()
    assert leases.recover() == [killer]
    leases.succeed(leases.claim(), [], [], Metrics())
    assert [(await jobs.get(job_id))[0].status for job_id in (killer, innocent)] == ["failed", "succeeded"]


async def test_handed_back_job_comes_first_and_counts_no_loss(jobs, leases):
    first, second = await submit(jobs), await submit(jobs)
    for _ in range(5):
        assert leases.hand_back(leases.claim()) == "queued"
    assert [leases.claim().id, leases.claim().id] == [first, second]


@pytest.mark.parametrize("ending", ["succeed", "fail", "hand_back", "recover"])
async def test_canceling_job_ends_canceled_however_the_attempt_ends(jobs, leases, dying, ending):
    job_id = await submit(jobs)
    claim = dying.claim()
    await jobs.cancel(job_id)
    await outlive_the_lease()
    {
        "succeed": lambda: leases.succeed(claim, [output()], [], Metrics()),
        "fail": lambda: leases.fail(claim, ERROR, Metrics()),
        "hand_back": lambda: leases.hand_back(claim),
        "recover": leases.recover,
    }[ending]()
    record, _ = await jobs.get(job_id)
    assert (record.status, record.outputs, record.error) == (JobStatus.CANCELED, [], None)


async def test_job_that_was_started_in_time_may_wait_for_another_start(jobs, leases):
    job_id = (await jobs.submit(REQUEST.model_copy(update={"start_within": 0.1}), keep_s=60, max_queued=9)).id
    leases.hand_back(leases.claim())
    await asyncio.sleep(0.2)
    assert leases.claim().id == job_id


async def test_time_of_every_attempt_is_counted_and_waiting_is_not(jobs, leases, dying):
    await submit(jobs)
    begin = time.monotonic()
    first = leases.claim()
    await asyncio.sleep(0.1)
    leases.hand_back(first)
    ran_ms = 1000 * (time.monotonic() - begin)
    await asyncio.sleep(0.2)
    second = dying.claim()
    await asyncio.sleep(0.2)
    leases.recover()
    third = leases.claim()
    assert first.ran_ms == 0
    assert 100 <= second.ran_ms <= ran_ms + 1
    assert second.ran_ms < third.ran_ms <= second.ran_ms + 1000 * LEASE_S


@pytest.mark.parametrize("ending", ["succeed", "fail", "cancel"])
async def test_pictures_of_an_attempt_that_published_none_are_swept_at_once(jobs, leases, ending):
    job_id = await submit(jobs)
    claim = leases.claim()
    if ending == "cancel":
        await jobs.cancel(job_id)
    if ending == "fail":
        leases.fail(claim, ERROR, Metrics())
    else:
        leases.succeed(claim, [output()], [], Metrics())
    assert swept(leases) == ([] if ending == "succeed" else [f"{job_prefix(job_id)}1/"])
    assert (await jobs.get(job_id))[0].status.final


async def test_what_a_record_does_not_name_is_swept(jobs, leases):
    """The outputs of attempts that did not win, and where the run stood."""
    job_id = await submit(jobs)
    first = leases.claim()
    assert leases.name_savepoint(first, savepoint_key(job_id, 1, 0)) == ""
    leases.hand_back(first)
    second = leases.claim()
    assert second.savepoint == savepoint_key(job_id, 1, 0)
    assert leases.name_savepoint(second, savepoint_key(job_id, 2, 0)) == savepoint_key(job_id, 1, 0)
    with pytest.raises(LeaseLostError):
        leases.name_savepoint(first, savepoint_key(job_id, 1, 1))
    leases.succeed(second, [output()], [], Metrics())
    assert set(swept(leases)) == {attempt_prefix(job_id, 1), f"{job_prefix(job_id)}savepoint/"}
    assert swept(leases) == []
    assert await status_of(jobs, job_id) == "succeeded"


async def test_a_failed_job_keeps_no_outputs(jobs, leases):
    job_id = await submit(jobs)
    leases.fail(leases.claim(), ERROR, Metrics())
    assert swept(leases) == [attempt_prefix(job_id, 1)]


async def test_no_more_hints_lie_there_than_keep_workers_busy(jobs, leases, redis_url):
    for _ in range(101):
        await submit(jobs, max_queued=200)
    with connect(redis_url) as client:
        assert client.llen(HINTS) == 100
        client.ltrim(HINTS, 0, 1)
        leases.claim()
        assert client.llen(HINTS) == 100


async def test_lost_hints_are_given_again(jobs, leases, redis_url):
    for _ in range(3):
        await submit(jobs)
    with connect(redis_url) as client:
        assert client.llen(HINTS) == 3
        client.delete(HINTS)
        leases.recover()
        leases.recover()
        assert client.llen(HINTS) == 3
