"""Laws of density models at the gateway: what is ready, what is being fitted, and what a job is measured against."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import httpx
import pytest

from api.app import create_app
from services.density_models import Baseline, DensityFacts, Point, baseline_key
from services.jobs.record import Metrics
from services.jobs.store import connect
from services.tenants import Tenants
from services.texts.concepts import DEFAULT_PROMPT

FACTS = DensityFacts(
    concept="handbag",
    prompt=DEFAULT_PROMPT,
    samples=5000,
    components=50,
    variance_kept=0.85,
    fitted_at=datetime(2026, 1, 2, tzinfo=UTC),
    key="densities/00ff",
    family="model-5000",
)
POINTS = [Point(x=0.5, y=-1.25, bits=0.7), Point(x=3.0, y=0.0, bits=8.1)]
READY = {**FACTS.model_dump(mode="json", exclude={"key", "family"}), "status": "ready", "job": None}


@pytest.fixture
def put_baseline(storage):
    def put(points=POINTS):
        data = Baseline(fitted_at=FACTS.fitted_at, points=points).model_dump_json().encode()
        storage.put(baseline_key(FACTS.key), data, "application/json")

    return put


async def listed(gateway):
    return (await gateway.get("/density-models")).json()["density_models"]


async def test_a_density_is_fitting_until_its_job_has_it_and_then_ready(gateway, leases, put_baseline):
    leases.serve("model-5000", [])
    first = await gateway.put("/density-models/handbag")
    job = first.json()["job"]
    assert (first.status_code, first.headers["location"]) == (202, job)
    assert await listed(gateway) == [first.json()] == [{**dict.fromkeys(READY), **first.json()}]
    assert (first.json()["status"], first.json()["prompt"]) == ("fitting", DEFAULT_PROMPT)
    assert (await gateway.get(job)).json()["kind"] == "density_model"
    claim = leases.claim()
    put_baseline()
    leases.name_density(claim, FACTS, listed=True)
    leases.succeed(claim, [], [], Metrics())
    again = await gateway.put("/density-models/handbag")
    assert (again.status_code, again.json()) == (200, READY)
    assert await listed(gateway) == [READY]


async def test_asked_for_twice_at_once_it_is_fitted_once(gateway):
    answers = await asyncio.gather(*(gateway.put("/density-models/handbag") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job"] for answer in answers}) == len((await gateway.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("words", ["Handbag", "handbag ", "a handbag", "handbags", "the  HANDBAG"])
async def test_a_concept_is_one_model_however_it_is_written(gateway, leases, put_baseline, words):
    fitting = [(await gateway.put(f"/density-models/{one}")).json() for one in ("handbag", words)]
    assert fitting[0] == fitting[1] == (await listed(gateway))[0]
    leases.serve("model-5000", [FACTS])
    put_baseline()
    assert (await gateway.put(f"/density-models/{words}")).json() == READY


async def test_another_prompt_is_another_model(gateway):
    one = await gateway.put("/density-models/tea pot/with lid")
    other = await gateway.put("/density-models/tea pot/with lid", params={"prompt": "a {} on a hill"})
    assert (other.json()["concept"], other.json()["prompt"]) == ("tea pot/with lid", "a {} on a hill")
    assert one.json()["job"] != other.json()["job"]


async def test_a_model_that_the_store_has_lost_is_fitted_anew_for_whoever_asks(gateway, leases, storage, put_baseline):
    leases.serve("model-5000", [FACTS])
    put_baseline()
    assert (await gateway.put("/density-models/handbag")).status_code == 200
    storage.delete(f"{FACTS.key}/")
    assert (await gateway.put("/density-models/handbag")).status_code == 202


async def test_the_list_is_told_without_a_look_into_the_store(app, gateway, leases):
    leases.serve("model-5000", [FACTS])
    app.state.gateway = dataclasses.replace(app.state.gateway, storage=None)
    assert await listed(gateway) == [READY]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [("%20", "concept"), ("a" * 201, "concept"), ("bag?prompt=bag", "prompt"), ("bag?prompt={}{}", "prompt")],
)
async def test_what_no_job_could_ask_for_is_refused_where_it_stands(gateway, path, parameter):
    answer = await gateway.put(f"/density-models/{path}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, parameter)


async def test_a_full_queue_takes_no_fit(gateway, app):
    gateway_parts = app.state.gateway
    app.state.gateway = dataclasses.replace(
        gateway_parts, settings=gateway_parts.settings.model_copy(update={"max_queued": 1})
    )
    assert (await gateway.put("/density-models/handbag")).status_code == 202
    assert (await gateway.put("/density-models/chair")).status_code == 429
    assert (await gateway.put("/density-models/handbag")).status_code == 202


async def test_a_job_has_no_baseline_before_its_density_and_the_same_ever_after(gateway, leases, put_baseline):
    job = (await gateway.post("/jobs", json={"concept": "handbag", "rarity": {"percentile": 99.9}})).json()
    path = f"{job['urls']['self']}/baseline"
    early = await gateway.get(path)
    assert (early.status_code, early.headers["content-type"]) == (404, "application/problem+json")
    assert early.headers["cache-control"] == "no-store"
    put_baseline()
    leases.name_density(leases.claim(), FACTS, listed=False)
    answer = await gateway.get(path)
    assert answer.json() == {"target_bits": 9.966, "points": [point.model_dump() for point in POINTS]}
    assert "immutable" in answer.headers["cache-control"]
    assert await listed(gateway) == []
    assert "density" not in (await gateway.get(job["urls"]["self"])).json()


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"fitted_at": "2026-01-01T00:00:00Z", "points": [{}]}'])
async def test_a_baseline_that_the_store_has_damaged_is_told_of_as_unreadable(
    gateway, leases, put_baseline, storage, damaged
):
    job = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    put_baseline()
    leases.name_density(leases.claim(), FACTS, listed=False)
    storage.path(baseline_key(FACTS.key)).write_bytes(damaged)
    answer = await gateway.get(f"{job['urls']['self']}/baseline")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/unreadable")
    assert answer.json()["detail"].endswith(f"what is kept of the density of job {job['id']}")


async def test_tenants_share_preloaded_models_and_no_others(settings, leases, put_baseline, redis_url):
    app = create_app(settings.model_copy(update={"auth": "keys"}))
    with connect(redis_url) as client:
        mine, theirs = [{"Authorization": f"Bearer {Tenants(client).create_key(name)}"} for name in ("acme", "evil")]
    put_baseline()
    leases.serve("model-5000", [FACTS])
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as c:
        job = (await c.put("/density-models/chair", headers=mine)).json()["job"]
        seen = [(await c.get("/density-models", headers=one)).json()["density_models"] for one in (mine, theirs)]
        baseline = await c.get(f"{job}/baseline", headers=theirs)
        other = (await c.put("/density-models/chair", headers=theirs)).json()["job"]
    assert [[model["concept"] for model in models] for models in seen] == [["chair", "handbag"], ["handbag"]]
    assert (baseline.status_code, baseline.json()["type"]) == (404, "/problems/not_found")
    assert other != job
