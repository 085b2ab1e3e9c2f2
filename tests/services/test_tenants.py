"""Laws of keys and tenants: who is let in, and what nobody else finds."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from api.pictures import Upload, Uploads
from services.errors import JobExpiredError, JobNotFoundError, TenantError, UnauthorizedError, UploadNotFoundError
from services.exposure import Feedback, View
from services.jobs.record import Metrics
from services.jobs.store import connect, connect_async
from services.tenants import Doorkeeper, Limits, Tenants
from tests.accepted import accepted
from tests.services.jobs.moves import expire

VIEW = View.of("0" * 32 + "/0", "lamp", Feedback.LIKED, bytes(12), None)


@pytest.fixture
def tenants(redis_url):
    with connect(redis_url) as client:
        yield Tenants(client)


@pytest.fixture
async def doorkeeper(redis_url):
    async with connect_async(redis_url) as client:
        yield Doorkeeper(client)


async def submit(jobs, **key) -> str:
    return (await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=100, **key)).id


async def test_key_says_who_calls_and_what_they_may(tenants, doorkeeper):
    limits = Limits(rate=60, running=2)
    tenants.limit("acme", limits)
    caller = await doorkeeper.admit(f"Bearer {tenants.create_key('acme')}")
    assert (caller.tenant, caller.operator, caller.limits) == ("acme", False, limits)
    assert (await doorkeeper.admit(f"bearer {tenants.create_key('ops', operator=True)}")).operator


async def test_nothing_but_a_whole_key_opens(tenants, doorkeeper):
    key, other = tenants.create_key("acme"), tenants.create_key("acme")
    mixed = "_".join([*key.split("_")[:2], other.split("_", 2)[2]])
    for wrong in ("", key, f"Basic {key}", f"Bearer {key[:-1]}", f"Bearer {mixed}", f"Bearer rb_{'0' * 16}_{'x' * 43}"):
        with pytest.raises(UnauthorizedError):
            await doorkeeper.admit(wrong)


async def test_revoked_key_opens_nothing(tenants, doorkeeper):
    key = tenants.create_key("acme")
    tenants.revoke(tenants.list_keys()[0].id)
    with pytest.raises(UnauthorizedError):
        await doorkeeper.admit(f"Bearer {key}")
    with pytest.raises(TenantError):
        tenants.revoke("0" * 16)


def test_key_itself_is_not_kept(tenants, redis_url):
    secret = tenants.create_key("acme").split("_", 2)[2]
    with connect(redis_url) as client:
        kept = json.dumps(client.hgetall("{rarebit}:keys"))
    assert tenants.list_keys()[0].id in kept
    assert secret not in kept


@pytest.mark.parametrize("name", ["", "-a", "A", "a:b", "a" * 64, "a/b"])
def test_name_that_could_be_mistaken_is_refused(tenants, name):
    with pytest.raises(TenantError):
        tenants.create_key(name)


async def test_nobody_finds_another_tenants_job(jobs, leases):
    mine, theirs = jobs.of("acme"), jobs.of("evil")
    job_id = await submit(mine)
    for call in (theirs.get, theirs.cancel):
        with pytest.raises(JobNotFoundError):
            await call(job_id)
    await theirs.delete(job_id)
    assert (await theirs.list(status=None, before=None, limit=9))[0] == []
    assert await theirs.events(job_id, "0-0") == []
    assert (await mine.get(job_id))[0].status == "queued"
    assert leases.claim().tenant == "acme"


async def test_another_tenants_erased_job_is_unknown_rather_than_expired(jobs, leases, redis_url):
    job_id = await submit(jobs.of("acme"))
    leases.succeed(leases.claim(), [], [], Metrics())
    expire(redis_url, leases, job_id)
    with pytest.raises(JobExpiredError):
        await jobs.of("acme").get(job_id)
    with pytest.raises(JobNotFoundError):
        await jobs.of("evil").get(job_id)


async def test_idempotency_keys_and_histories_are_each_tenants_own(jobs):
    same = {"idempotency_key": "k", "body_hash": "h"}
    assert await submit(jobs.of("acme"), **same) != await submit(jobs.of("evil"), **same)
    await jobs.of("acme").add_views("user-7", [VIEW])
    assert await jobs.of("evil").views("user-7") == []
    await jobs.of("evil").forget("user-7")
    assert await jobs.of("acme").views("user-7") == [VIEW]


async def test_nobody_finds_another_tenants_picture(redis_url):
    kept = Upload(id="1" * 32, width=1, height=1, bytes=1, sha256="", expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with connect_async(redis_url) as client:
        mine, theirs = Uploads(client, "acme"), Uploads(client, "evil")
        await mine.add(kept)
        with pytest.raises(UploadNotFoundError):
            await theirs.get("1" * 32)
        await theirs.delete("1" * 32)
        assert await mine.get("1" * 32) == kept
