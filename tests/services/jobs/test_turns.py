"""Laws of the queue: whose turn it is, how many of a tenant's jobs run at once, and when a job may start."""

import pytest
import redis

from services.errors import QueueFullError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.queue import HINTS
from services.jobs.record import Metrics
from services.tenants import Limits, Tenants
from tests.accepted import accepted

COUNTERS = "{rarebit}:counters"
TEN_MINUTES_US = 600e6


@pytest.fixture
def acme(client, jobs) -> Jobs:
    """A tenant with two slots, of whose jobs five may wait."""
    Tenants(client).limit("acme", Limits(running=2, queued=5))
    return jobs.of("acme")


async def submit(jobs: Jobs, priority: str = "normal") -> str:
    return (await jobs.submit(accepted(concept="lamp", priority=priority), keep_s=60, max_queued=100)).id


async def place_of(jobs: Jobs, job_id: str) -> int:
    return (await jobs.get(job_id))[1].position


def made_older(client: redis.Redis, job_id: str, by_us: float) -> None:
    client.zincrby("{rarebit}:queue", -by_us, job_id)


def finish(leases: Leases, claim) -> None:
    leases.succeed(claim, [], [], Metrics())


async def test_high_goes_before_normal_before_low_and_each_in_order(jobs, leases):
    submitted = {(p, i): await submit(jobs, p) for i in range(2) for p in ("low", "normal", "high")}
    claimed = [leases.claim().id for _ in submitted]
    assert claimed == [submitted[p, i] for p in ("high", "normal", "low") for i in range(2)]


@pytest.mark.parametrize(("priority", "head_starts"), [("normal", 1), ("high", 2)])
async def test_low_job_starts_before_whatever_comes_longer_after_it_than_the_head_start(
    jobs, leases, client, priority, head_starts
):
    low = await submit(jobs, "low")
    made_older(client, low, 0.9 * head_starts * TEN_MINUTES_US)
    overtaking = await submit(jobs, priority)
    assert leases.claim().id == overtaking
    made_older(client, low, 0.2 * head_starts * TEN_MINUTES_US)
    await submit(jobs, priority)
    assert leases.claim().id == low


async def test_handed_back_job_keeps_its_turn(jobs, leases):
    first, _ = await submit(jobs), await submit(jobs)
    leases.hand_back(leases.claim())
    assert leases.claim().id == first


async def test_tenant_runs_as_many_jobs_as_it_has_slots_and_others_pass(acme, jobs, leases):
    own = [await submit(acme) for _ in range(3)]
    other = await submit(jobs)
    claims = [leases.claim() for _ in range(3)]
    assert [claim.id for claim in claims] == [*own[:2], other]
    assert leases.claim() is None
    finish(leases, claims[0])
    assert leases.claim().id == own[2]


@pytest.mark.parametrize("ending", ["cancel", "delete"])
async def test_slot_of_a_job_that_does_not_run_is_free_again(acme, leases, ending):
    first, second, third = [await submit(acme) for _ in range(3)]
    await (acme.cancel(first) if ending == "cancel" else acme.delete(first))
    assert [leases.claim().id for _ in range(2)] == [second, third]


async def test_handed_back_job_keeps_its_slot(acme, leases):
    first, _, third = [await submit(acme) for _ in range(3)]
    leases.hand_back(leases.claim())
    assert [leases.claim().id for _ in range(2)] != [third]
    assert await place_of(acme, third) == 1
    assert (await acme.get(first))[0].status == "running"


async def test_more_slots_let_held_jobs_in_and_wake_workers(acme, leases, client):
    submitted = [await submit(acme) for _ in range(4)]
    hints = client.llen(HINTS)
    Tenants(client).limit("acme", Limits())
    assert client.llen(HINTS) == hints + 2
    assert [leases.claim().id for _ in submitted] == submitted


async def test_held_jobs_do_not_make_an_idle_worker_deaf(acme, leases):
    for _ in range(3):
        await submit(acme)
    leases.claim(), leases.claim()
    assert leases.waiting() == 0


async def test_tenant_with_a_full_queue_is_refused_while_others_are_not(acme, jobs):
    for _ in range(5):
        await submit(acme)
    with pytest.raises(QueueFullError, match="your limit"):
        await submit(acme)
    await submit(jobs)


async def test_places_count_those_who_come_first(acme, jobs):
    held = [await submit(acme) for _ in range(3)][2]
    normal, high = await submit(jobs), await submit(jobs, "high")
    assert [await place_of(jobs, high), await place_of(jobs, normal), await place_of(acme, held)] == [1, 4, 5]


def took(client: redis.Redis, *seconds: float) -> None:
    client.rpush("{rarebit}:durations", *(round(1000 * s) for s in seconds))


async def eta_of(jobs: Jobs, job_id: str) -> tuple[float, float] | None:
    eta = (await jobs.get(job_id))[1].eta_seconds
    return eta and (eta.p50, eta.p90)


async def test_nothing_is_promised_without_workers_or_measurements(jobs, leases, client):
    took(client, 4, 4)
    assert await eta_of(jobs, await submit(jobs)) is None
    leases.recover()
    client.delete("{rarebit}:durations")
    assert await eta_of(jobs, await submit(jobs)) is None


async def test_idle_worker_takes_a_job_at_once(jobs, leases, client):
    leases.recover()
    took(client, 10, 10)
    assert await eta_of(jobs, await submit(jobs)) == (0, 0.5)


async def test_job_waits_for_what_is_left_of_the_running_one_and_for_those_before_it(jobs, leases, client):
    took(client, *range(1, 12))  # p50 6 s, p90 10 s
    running = await submit(jobs)
    leases.claim()
    client.hincrby(f"{{rarebit}}:job:{running}", "started_at", -2000)
    (first, second, third) = [await submit(jobs) for _ in range(3)]
    for job_id, (p50, p90) in {first: (4, 8.5), second: (10, 16.2), third: (16, 23.4)}.items():
        assert await eta_of(jobs, job_id) == pytest.approx((p50, p90), abs=0.2)


async def test_workers_share_what_waits(jobs, client):
    took(client, *range(1, 12))
    for worker in "ab":
        Leases(client, worker=worker, lease_s=30).recover()
    etas = [await eta_of(jobs, await submit(jobs)) for _ in range(5)]
    assert [p50 for p50, _ in etas] == [0, 0, 6, 6, 12]


async def test_promises_are_counted_as_they_come_out(jobs, leases, client):
    leases.recover()
    took(client, 4, 4)
    kept, broken = await submit(jobs), await submit(jobs)
    client.hset(f"{{rarebit}}:job:{broken}", "promised_at", 0)
    assert [leases.claim().id, leases.claim().id] == [kept, broken]
    assert client.hmget(COUNTERS, "eta:promised", "eta:held") == ["2", "1"]


async def test_limit_binds_what_was_queued_before_it_and_a_higher_one_lets_it_in(jobs, leases, client):
    tenants, own = Tenants(client), jobs.of("acme")
    first, second, third = [await submit(own) for _ in range(3)]
    running = leases.claim()
    tenants.limit("acme", Limits(running=1))
    other = await submit(jobs)
    assert leases.waiting() == 1
    assert leases.claim().id == other
    assert leases.claim() is None
    finish(leases, running)
    assert leases.claim().id == second
    tenants.limit("acme", Limits(running=2))
    assert leases.claim().id == third
    assert await own.get(first)


async def test_limit_holds_those_first_whose_turn_comes_last(jobs, leases, client):
    own = jobs.of("acme")
    low, normal, high = [await submit(own, priority) for priority in ("low", "normal", "high")]
    Tenants(client).limit("acme", Limits(running=2))
    assert [await place_of(own, job_id) for job_id in (high, normal, low)] == [1, 2, 3]
    assert [leases.claim().id, leases.claim().id, leases.claim()] == [high, normal, None]


async def test_limit_binds_more_jobs_than_one_call_moves(jobs, leases, client):
    tenants, own = Tenants(client), jobs.of("acme")
    for _ in range(250):
        await own.submit(accepted(concept="lamp"), keep_s=60, max_queued=1000)
    tenants.limit("acme", Limits(running=3))
    assert leases.waiting() == 3
    tenants.limit("acme", Limits())
    assert leases.waiting() == 250


async def test_claim_binds_a_job_that_a_limit_has_not_moved_yet(jobs, leases, client):
    """An operator's process may end between the calls that move a tenant's jobs."""
    own = jobs.of("acme")
    running, _ = await submit(own), await submit(own)
    leases.claim()
    client.hset("{rarebit}:tenant:acme", "running", 1)
    assert leases.claim() is None
    assert (await own.get(running))[0].status == "running"
    assert leases.waiting() == 0
