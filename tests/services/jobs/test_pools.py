"""Laws of pools: each model has workers and a queue of its own, and no worker takes a job of another's."""

import pytest

from services.errors import QueueFullError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.quarantine import Quarantine
from services.jobs.queue import HINTS
from services.jobs.record import Metrics
from services.tenants import Limits, Tenants
from tests.accepted import accepted
from tests.services.jobs.moves import cancel, status_of

LARGE = "large"


@pytest.fixture
def large(client) -> Leases:
    return Leases(client, worker="worker-large", lease_s=30, model=LARGE)


async def submit(jobs: Jobs, model: str | None = LARGE, max_queued: int = 99) -> str:
    request = accepted(concept="lamp", model=model)
    return (await jobs.submit(request, keep_s=60, max_queued=max_queued)).id


async def test_claims_take_jobs_of_their_own_model_in_their_order(jobs, leases, large):
    submitted = [await submit(jobs, model) for model in (LARGE, None, LARGE, "rarebit")]
    assert [large.claim().id, large.claim().id, large.claim()] == [submitted[0], submitted[2], None]
    assert [leases.claim().id, leases.claim().id, leases.claim()] == [submitted[1], submitted[3], None]
    assert (leases.waiting(), large.waiting()) == (0, 0)


async def test_handed_back_and_lost_jobs_wait_for_their_own_model_again(jobs, leases, client):
    job_id = await submit(jobs)
    dying = Leases(client, worker="dying", lease_s=0, model=LARGE)
    dying.hand_back(dying.claim())
    assert leases.claim() is None
    dying.claim()
    assert leases.recover() == [job_id]
    assert (leases.claim(), await status_of(jobs, job_id)) == (None, "queued")
    dying.claim()
    leases.recover()
    new = (await Quarantine(jobs._client).replay(job_id, max_queued=9))[0]
    assert (new.request.model, leases.claim(), dying.claim().id) == (LARGE, None, new.id)


@pytest.mark.parametrize("ending", ["cancel", "delete"])
async def test_job_that_waits_no_more_leaves_its_models_queue(jobs, large, client, ending):
    first, second = await submit(jobs), await submit(jobs)
    await (cancel(jobs, first) if ending == "cancel" else jobs.delete(first))
    assert (await jobs.get(second))[1].position == 1
    assert large.claim().id == second
    assert client.zcard("{rarebit}:pool:large:waiting:normal") == 0


async def test_hints_lie_where_workers_of_the_model_listen(jobs, leases, large, client):
    for _ in range(2):
        await submit(jobs)
    assert (client.llen(HINTS), client.llen(f"{HINTS}.large")) == (0, 2)
    client.delete(f"{HINTS}.large")
    leases.recover()
    assert client.llen(f"{HINTS}.large") == 0
    large.recover()
    assert client.llen(f"{HINTS}.large") == 2


async def test_each_model_has_its_own_places_and_estimates(jobs, leases, large, client):
    leases.recover(), large.recover()
    client.rpush("{rarebit}:durations", *[10_000] * 2)
    client.rpush("{rarebit}:pool:large:durations", *[60_000] * 2)
    places = {}
    for model in (None, LARGE):
        for _ in range(3):
            places[model] = (await jobs.get(await submit(jobs, model)))[1]
    assert [places[model].position for model in (None, LARGE)] == [3, 3]
    assert [places[model].eta_seconds.p50 for model in (None, LARGE)] == [20, 120]


async def test_full_queue_of_a_model_refuses_no_other(jobs):
    await submit(jobs, max_queued=1)
    with pytest.raises(QueueFullError):
        await submit(jobs, max_queued=1)
    await submit(jobs, None, max_queued=1)


async def test_tenants_slots_are_of_all_models_and_a_model_without_workers_takes_none(jobs, leases, large, client):
    Tenants(client).limit("acme", Limits(running=1))
    own = jobs.of("acme")
    waits = await submit(own)
    first, second = [await submit(own, None) for _ in range(2)]
    claim = leases.claim()
    assert claim.id == first
    assert (leases.claim(), large.claim()) == (None, None)
    leases.succeed(claim, [], [], Metrics())
    claim = large.claim()
    assert (claim.id, leases.claim()) == (waits, None)
    large.succeed(claim, [], [], Metrics())
    assert leases.claim().id == second
    Tenants(client).limit("acme", Limits(running=3))
    third = await submit(own)
    assert large.claim().id == third


async def test_slot_of_a_handed_back_job_is_free_for_other_models(jobs, leases, large, client):
    Tenants(client).limit("acme", Limits(running=1))
    first, second = await submit(jobs.of("acme"), None), await submit(jobs.of("acme"))
    claim = leases.claim()
    assert (claim.id, large.claim()) == (first, None)
    leases.hand_back(claim)
    assert (large.claim().id, leases.claim()) == (second, None)


async def test_figures_are_each_models_own(jobs, leases, large):
    await submit(jobs), await submit(jobs)
    large.succeed(large.claim(), [], [], Metrics(decode_ms=5))
    leases.recover({"worker:busy": 3}), large.recover({"worker:busy": 4, "energy:mj": 7}, device_memory=0.25)
    stats = await jobs.stats()
    own, other = stats.pool(LARGE), stats.pool("rarebit")
    assert (sum(own.waiting.values()), own.workers, len(own.durations_ms)) == (1, 1, 1)
    assert (sum(other.waiting.values()), other.workers, len(other.durations_ms)) == (0, 1, 0)
    assert (own.counters["ended:succeeded"], own.counters["worker:busy"], own.counters["energy:mj"]) == (1, 4, 7)
    assert other.counters == {"worker:busy": 3}
    assert (own.device_memory, other.device_memory) == (0.25, None)


async def test_silent_worker_is_forgotten_whoever_lives(jobs, leases, large, client):
    large.recover(device_memory=0.9)
    client.zadd("{rarebit}:pool:large:workers", {"worker-large": 1})
    leases.recover()
    assert (await jobs.stats()).pool(LARGE).device_memory is None
    assert client.exists("{rarebit}:pool:large:workers", "{rarebit}:pool:large:memory") == 0


async def test_jobs_that_name_no_model_are_the_defaults_whatever_its_name(jobs, leases, client):
    Tenants(client).limit("acme", Limits(running=1))
    waiting = [await submit(jobs.of("acme"), None) for _ in range(2)]
    runs = await submit(jobs, None)
    Leases(client, worker="dying", lease_s=0).claim()
    for job_id in [*waiting, runs]:
        client.hdel(f"{{rarebit}}:job:{job_id}", "model")
    default = Leases(client, worker="w", lease_s=30, model=LARGE, adopts_unnamed=True)
    default.recover()
    claims = [default.claim(), default.claim()]
    default.succeed(claims[0], [], [], Metrics())
    assert {claims[0].id, claims[1].id, default.claim().id} == {*waiting, runs}
    assert leases.claim() is None
