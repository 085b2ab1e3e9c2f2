"""Laws of a user's history, over a real server."""

import asyncio
import struct
import uuid

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits

from services.bounds import Bounds
from services.errors import LeaseLostError
from services.exposure import Feedback, View
from services.jobs.leases import Leases
from services.jobs.record import Metrics
from services.jobs.store import EVERYBODY, connect, name_of
from tests.accepted import accepted

JOB = "a" * 32
OUTPUTS = [f"{JOB}/{index}" for index in range(4)]
LEASE_S = 0.03


def view(output: str, feedback: Feedback = Feedback.NEUTRAL, value: float = 1.0) -> View:
    return View.of(output, "handbag", feedback, [value, -value], "f" * 64)


def views_in_order(count: int) -> list[View]:
    return [view(f"{index:032x}/0") for index in range(count)]


@pytest.fixture
def claim_one(jobs, leases):
    """A claimed job whose views belong to a key."""

    async def claim(exposure, leases=leases):
        await jobs.submit(accepted(concept="handbag", exposure=exposure), keep_s=60, max_queued=10)
        return leases.claim()

    return claim


@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=8))
def test_view_gives_back_the_floats_it_was_made_of(values):
    data = struct.pack(f"<{len(values)}f", *values)
    of_floats, of_bytes = (View.of(OUTPUTS[0], "lamp", Feedback.LIKED, given, None) for given in (values, data))
    assert of_floats == of_bytes == View.model_validate_json(of_bytes.model_dump_json())
    assert of_floats.values() == data


def test_a_view_that_was_stored_without_a_model_is_of_an_unknown_one():
    own = view(OUTPUTS[0])
    assert View.model_validate_json(own.model_dump_json(exclude={"model"})) == own.model_copy(update={"model": None})


async def test_views_join_the_history_with_the_result_that_has_them(jobs, leases, claim_one):
    claim = await claim_one("me")
    assert leases.views(EVERYBODY, "me") == []
    leases.succeed(claim, [], [], Metrics(), [view(OUTPUTS[0]), view(OUTPUTS[1])])
    assert leases.views(EVERYBODY, "me") == await jobs.views("me") == [view(OUTPUTS[0]), view(OUTPUTS[1])]
    assert leases.views(EVERYBODY, "me ") == leases.views(EVERYBODY, "you") == []


async def test_views_of_a_job_without_a_key_go_nowhere(leases, claim_one):
    leases.succeed(await claim_one(None), [], [], Metrics(), [view(OUTPUTS[0])])
    assert leases.views(EVERYBODY, "None") == leases.views(EVERYBODY, "") == []


async def test_replaced_attempt_adds_no_view(leases, claim_one, redis_url):
    with connect(redis_url) as client:
        stale = await claim_one("me", leases=Leases(client, worker="dying", lease_s=LEASE_S))
    await asyncio.sleep(2 * LEASE_S)
    leases.recover()
    fresh = leases.claim()
    with pytest.raises(LeaseLostError):
        leases.succeed(stale, [], [], Metrics(), [view(OUTPUTS[0])])
    leases.succeed(fresh, [], [], Metrics(), [view(OUTPUTS[1])])
    with pytest.raises(LeaseLostError):
        leases.succeed(fresh, [], [], Metrics(), [view(OUTPUTS[2])])
    assert leases.views(EVERYBODY, "me") == [view(OUTPUTS[1])]


async def test_canceled_job_adds_no_view(jobs, leases, claim_one):
    claim = await claim_one("me")
    await jobs.cancel(claim.id)
    assert leases.succeed(claim, [], [], Metrics(), [view(OUTPUTS[0])]) == "canceled"
    assert leases.views(EVERYBODY, "me") == []


@limits(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from(OUTPUTS), st.sampled_from(Feedback), st.floats(0, 1, width=16)),
        max_size=12,
    )
)
async def test_output_counts_once_in_its_place_with_the_last_judgement(jobs, leases, claim_one, steps):
    exposure, model = uuid.uuid4().hex, {}
    for judged, *parts in steps:
        new = view(*parts)
        if judged:
            await jobs.add_views(exposure, [new])
        else:
            leases.succeed(await claim_one(exposure), [], [], Metrics(), [new])
        if judged or new.feedback is not Feedback.NEUTRAL or new.output not in model:
            model[new.output] = new
    assert await jobs.views(exposure) == list(model.values())


async def test_newest_five_hundred_are_kept(jobs):
    views = views_in_order(510)
    await jobs.add_views("me", views[:490])
    await jobs.add_views("me", [view(views[0].output, Feedback.LIKED)])
    await jobs.add_views("me", views[490:])
    assert await jobs.views("me") == views[10:]


async def test_history_that_nobody_adds_to_ends(jobs, redis_url):
    await jobs.add_views("me", views_in_order(2), Bounds(exposure_ttl_s=1))
    assert len(await jobs.views("me")) == 2
    await asyncio.sleep(1.1)
    assert await jobs.views("me") == []
    await jobs.add_views("you", views_in_order(1), Bounds(exposure_ttl_s=1))
    with connect(redis_url) as client:
        assert client.zrange("{rarebit}:exposures:", 0, -1) == [name_of(EVERYBODY, "you")]


async def test_each_addition_lengthens_a_history_also_a_jobs(jobs, redis_url, claim_one):
    await jobs.add_views("me", views_in_order(2), Bounds(exposure_ttl_s=100))
    with connect(redis_url) as client:
        keys = client.keys("*exposure*")
        assert len(keys) == 3
        assert all(99_000 < client.pttl(key) <= 100_000 for key in keys)
        leases = Leases(client, worker="worker-1", lease_s=30, bounds=Bounds(exposure_ttl_s=200))
        leases.succeed(await claim_one("me", leases=leases), [], [], Metrics(), [])
        assert all(199_000 < client.pttl(key) <= 200_000 for key in keys)


async def test_tenant_has_as_many_histories_as_are_kept_the_last_used_ones(jobs, redis_url):
    acme, few = jobs.of("acme"), Bounds(exposures=2)
    await jobs.add_views("anybody's", views_in_order(1), few)
    for exposure in ("first", "second", "first", "third"):
        await acme.add_views(exposure, views_in_order(1), few)
        await asyncio.sleep(0.002)
    sizes = {exposure: len(await acme.views(exposure)) for exposure in ("first", "second", "third")}
    assert sizes == {"first": 1, "second": 0, "third": 1}
    assert len(await jobs.views("anybody's")) == 1


async def test_forgetting_erases_all_of_one_history(jobs, redis_url):
    for exposure in ("me", "you"):
        await jobs.add_views(exposure, views_in_order(3))
    await jobs.forget("me")
    await jobs.forget("me")
    assert (await jobs.views("me"), len(await jobs.views("you"))) == ([], 3)
    await jobs.forget("you")
    with connect(redis_url) as client:
        assert client.keys("*exposure*") == []


async def test_key_is_not_in_plain_sight(jobs, redis_url):
    await jobs.add_views("someone@example.com", views_in_order(1))
    with connect(redis_url) as client:
        assert client.keys("*example*") == []


async def test_worker_finds_a_job_until_it_is_gone(jobs, leases):
    assert leases.find("0" * 32) is None
    kept, expired = [
        (await jobs.submit(accepted(concept="lamp"), keep_s=keep_s, max_queued=9)).id for keep_s in (60, 0)
    ]
    assert leases.find(kept) == (await jobs.get(kept))[0]
    assert leases.find(expired).status == "queued"
    for _ in range(2):
        leases.succeed(leases.claim(), [], [], Metrics())
    assert leases.find(kept).status == "succeeded"
    assert leases.find(expired) is None
    await jobs.delete(kept)
    assert leases.find(kept) is None
