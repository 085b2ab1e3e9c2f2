"""Laws of the gateway with keys on: who is let in, how often, and what nobody else sees."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from services.jobs.store import connect
from services.objects.storage import open_storage
from services.tenants import Limits, Tenants

BODY = {"concept": "lamp"}


@pytest.fixture
def tenants(redis_url):
    with connect(redis_url) as client:
        yield Tenants(client)


@pytest.fixture
async def guarded(settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client, without a key yet, of a gateway that asks for one."""
    app = create_app(settings.model_copy(update={"auth": "keys"}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as c:
        yield c


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_every_operation_but_probes_and_pages_asks_for_a_key(guarded):
    document = (await guarded.get("/openapi.json")).json()
    open_paths = {"/health/live", "/health/ready"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "security" not in operation:
                open_paths.add(path)
                continue
            answer = await guarded.request(method, path.replace("{", "").replace("}", ""), json=BODY)
            assert (path, answer.status_code) == (path, 401)
            told = answer.json()
            code = told["error"]["code"] if path.startswith("/v1/") else told["type"].rpartition("/")[2]
            assert (code, answer.headers["www-authenticate"]) in {
                ("unauthorized", "Bearer"),
                ("invalid_api_key", "Bearer"),
            }
    assert not {path for path in open_paths if path.startswith(("/jobs", "/batches", "/images", "/exposures"))}


async def test_a_signed_url_needs_no_key(guarded, settings):
    storage = open_storage(settings)
    storage.put("jobs/a/1/0.webp", b"picture", "image/webp")
    url = storage.signed_url("jobs/a/1/0.webp", datetime.now(UTC) + timedelta(minutes=1), 60)
    assert (await guarded.get(url)).content == b"picture"


async def test_tenants_see_their_own_alone(guarded, tenants):
    mine, theirs = bearer(tenants.create_key("acme")), bearer(tenants.create_key("evil"))
    job = (await guarded.post("/jobs", json=BODY, headers=mine)).json()
    batch = (await guarded.post("/batches", json={"jobs": [BODY]}, headers=mine)).json()
    assert (await guarded.get(job["urls"]["self"], headers=mine)).status_code == 200
    for method, path in [
        ("GET", job["urls"]["self"]),
        ("GET", job["urls"]["events"]),
        ("POST", job["urls"]["cancel"]),
        ("DELETE", job["urls"]["self"]),
        ("GET", batch["urls"]["self"]),
        ("POST", batch["urls"]["cancel"]),
    ]:
        assert (await guarded.request(method, path, headers=theirs)).status_code == 404
    assert (await guarded.get("/jobs", headers=theirs)).json()["jobs"] == []
    assert len((await guarded.get("/jobs", headers=mine)).json()["jobs"]) == 2


async def test_another_tenants_output_is_no_reference(guarded, tenants, publish):
    mine, theirs = bearer(tenants.create_key("acme")), bearer(tenants.create_key("evil"))
    job = (await guarded.post("/jobs", json=BODY, headers=mine)).json()
    publish()
    steered = BODY | {"avoid": [{"output": f"{job['id']}/0"}]}
    assert (await guarded.post("/jobs", json=steered, headers=theirs)).status_code == 422
    assert (await guarded.post("/jobs", json=steered, headers=mine)).status_code == 202


async def test_operators_alone_see_the_quarantine(guarded, tenants, lose_next):
    mine, operator = bearer(tenants.create_key("acme")), bearer(tenants.create_key("ops", operator=True))
    job = (await guarded.post("/jobs", json=BODY, headers=mine)).json()
    lose_next()
    refused = await guarded.get("/quarantine", headers=mine)
    assert (refused.status_code, refused.json()["type"].endswith("forbidden")) == (403, True)
    assert [one["id"] for one in (await guarded.get("/quarantine", headers=operator)).json()["jobs"]] == [job["id"]]
    new = (await guarded.post(f"/quarantine/{job['id']}/replay", headers=operator)).json()
    assert (await guarded.get(new["urls"]["self"], headers=mine)).json()["status"] == "queued"


async def test_operators_alone_read_the_metrics(guarded, tenants):
    mine, operator = bearer(tenants.create_key("acme")), bearer(tenants.create_key("ops", operator=True))
    assert (await guarded.get("/metrics", headers=mine)).status_code == 403
    assert "rarebit_jobs_waiting" in (await guarded.get("/metrics", headers=operator)).text


async def test_requests_beyond_the_rate_wait_and_every_answer_says_what_is_left(guarded, tenants):
    tenants.limit("acme", Limits(rate=3))
    mine, theirs = bearer(tenants.create_key("acme")), bearer(tenants.create_key("evil"))
    paths = ["/jobs", "/jobs/unknown", "/jobs?limit=0"]
    answers = [await guarded.get(path, headers=mine) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 404, 422]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0"]
    refused = await guarded.get("/jobs", headers=mine)
    assert (refused.status_code, refused.json()["type"].endswith("rate_limited")) == (429, True)
    assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "ratelimit" not in (await guarded.get("/jobs", headers=theirs)).headers


async def test_full_queue_of_a_tenant_is_told_from_a_limited_rate(guarded, tenants):
    tenants.limit("acme", Limits(queued=1))
    mine = bearer(tenants.create_key("acme"))
    await guarded.post("/jobs", json=BODY, headers=mine)
    refused = await guarded.post("/jobs", json=BODY, headers=mine)
    assert (refused.status_code, refused.json()["type"].endswith("queue_full")) == (429, True)


async def test_limited_tenant_reads_and_erases_while_redis_has_no_memory_left(guarded, tenants, redis_url):
    """What cannot be counted against the rate is let in."""
    tenants.limit("acme", Limits(rate=60))
    headers = bearer(tenants.create_key("acme"))
    job = (await guarded.post("/jobs", json=BODY, headers=headers)).json()
    with connect(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            refused = await guarded.post("/jobs", json=BODY, headers=headers)
            read = await guarded.get(f"/jobs/{job['id']}", headers=headers)
            erased = await guarded.delete(f"/jobs/{job['id']}", headers=headers)
        finally:
            client.config_set("maxmemory", 0)
    assert [answer.status_code for answer in (refused, read, erased)] == [503, 200, 204]
