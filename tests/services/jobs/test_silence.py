"""A record says when the worker of its job gives no sign any more, by the clock of Redis alone."""

from services.jobs.leases import Leases
from services.jobs.record import Progress
from tests.accepted import accepted

STEP = Progress(phase="optimize", step=12, steps=50, rarity_bits=2.5)


async def submit(jobs):
    return (await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=9)).id


def let_pass(client, job_id, seconds):
    """As if the lease had been renewed so much earlier."""
    client.zincrby("{rarebit}:leases", -1000 * seconds, job_id)


async def silence(jobs, job_id):
    progress = (await jobs.get(job_id))[0].progress
    return progress and progress.silent_s


async def test_silence_is_told_from_ten_seconds_on_until_the_next_sign(jobs, leases, client):
    job_id = await submit(jobs)
    leases.progress(claim := leases.claim(), STEP)
    let_pass(client, job_id, 9)
    assert await silence(jobs, job_id) is None
    let_pass(client, job_id, 1)
    record, _ = await jobs.get(job_id)
    assert 10 <= record.progress.silent_s < 15
    assert record.progress.model_copy(update={"silent_s": None}) == STEP
    leases.renew(claim)
    assert await silence(jobs, job_id) is None


async def test_worker_that_dies_before_its_first_step_is_silent_too(jobs, leases, client):
    job_id = await submit(jobs)
    leases.claim()
    assert (await jobs.get(job_id))[0].progress is None
    let_pass(client, job_id, 20)
    progress = (await jobs.get(job_id))[0].progress
    assert (progress.phase, progress.step, 20 <= progress.silent_s < 25) == ("load", 0, True)


async def test_job_that_waits_again_or_has_ended_has_no_worker_to_be_silent(jobs, leases, client):
    handed_back, canceled = await submit(jobs), await submit(jobs)
    for job_id in (handed_back, canceled):
        claim = leases.claim()
        let_pass(client, job_id, 20)
        await jobs.cancel(canceled)
        leases.hand_back(claim)
        assert await silence(jobs, job_id) is None


async def test_long_leases_are_renewed_rarely_and_that_is_no_silence(jobs, client):
    job_id = await submit(jobs)
    Leases(client, worker="slow", lease_s=120).claim()
    let_pass(client, job_id, 35)
    assert await silence(jobs, job_id) is None
    let_pass(client, job_id, 6)
    assert await silence(jobs, job_id) > 40
