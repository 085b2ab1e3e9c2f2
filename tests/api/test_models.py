"""Several models of one gateway: which a job may name, and what is told of each."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from services.jobs.leases import Leases

MODELS = ["mini", "large"]


@pytest.fixture
async def gateway(settings):
    """A gateway with two models, of which the first is the default."""
    app = create_app(settings.model_copy(update={"models": MODELS}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as c:
        yield c


@pytest.fixture
def workers(client):
    return {model: Leases(client, worker=f"w-{model}", lease_s=30, model=model) for model in MODELS}


async def submit(gateway, **fields):
    return await gateway.post("/jobs", json={"concept": "handbag"} | fields)


async def test_job_is_for_the_model_that_it_names_or_the_first(gateway, workers):
    made = [(await submit(gateway, **fields)).json() for fields in ({}, {"model": "large"}, {"model": None})]
    assert made[1]["queue"]["position"] == 1
    assert [job["request"]["model"] for job in made] == ["mini", "large", "mini"]
    assert [workers["large"].claim().id, workers["large"].claim()] == [made[1]["id"], None]
    assert [workers["mini"].claim().id for _ in range(2)] == [made[0]["id"], made[2]["id"]]


@pytest.mark.parametrize(
    ("model", "detail"),
    [
        ("rarebit", "is none of mini, large: rarebit"),
        ("Large", "has to be the name of a model"),
        ("a:b", "has to be the name of a model"),
    ],
)
async def test_model_that_is_not_served_is_refused_with_those_that_are(gateway, model, detail):
    """Also where nobody serves it for the moment: the list alone decides."""
    answer = await submit(gateway, model=model)
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "/model", "detail": detail}])
    batch = (await gateway.post("/batches", json={"jobs": [{"concept": "cup", "model": model}]})).json()
    assert batch["items"][0]["problem"] == answer.json()


async def test_jobs_of_a_batch_have_models_of_their_own(gateway):
    jobs = [{"concept": "cup"}, {"concept": "cup", "model": "mini"}]
    batch = (await gateway.post("/batches", json={"jobs": jobs, "shared": {"model": "large"}})).json()
    assert [item["job"]["request"]["model"] for item in batch["items"]] == ["large", "mini"]


async def test_key_that_was_used_for_one_model_makes_no_job_of_another(gateway):
    key = {"Idempotency-Key": "once"}
    for model, status in (("large", 202), ("large", 202), ("mini", 422)):
        answer = await gateway.post("/jobs", json={"concept": "cup", "model": model}, headers=key)
        assert answer.status_code == status


async def test_models_are_told_with_the_weights_that_serve_them(gateway, workers):
    workers["large"].serve("0a1b-5000", [])
    told = (await gateway.get("/v1/models")).json()["data"]
    assert [(one["id"], one["fingerprint"]) for one in told] == [("mini", None), ("large", "0a1b")]
    assert (await gateway.get("/v1/models/large")).json() == told[1]
    assert (await gateway.get("/v1/models/rarebit")).status_code == 404


async def test_openais_clients_name_a_model(gateway):
    answer = await gateway.post("/v1/images/generations", json={"prompt": "cup", "model": "dall-e-3"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "model")
    assert error["message"] == "model is none of mini, large: dall-e-3"


async def test_output_of_other_weights_than_the_wanted_models_is_refused(gateway, workers, publish):
    workers["large"].serve("aaaa-5000", []), workers["mini"].serve("bbbb-5000", [])
    job_id = (await submit(gateway, model="large")).json()["id"]
    publish(1, workers["large"], model="aaaa")
    start = {"image": {"output": f"{job_id}/0"}}
    assert (await submit(gateway, model="large", **start)).status_code == 202
    refused = await submit(gateway, **start)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/image/output")


async def test_density_model_is_of_the_model_that_is_asked_for(gateway, workers):
    small, large, again = [
        (await gateway.put("/density-models/handbag", params=params)).json()
        for params in ({}, {"model": "large"}, {"model": "large"})
    ]
    assert [one["model"] for one in (small, large, again)] == ["mini", "large", "large"]
    assert small["job"] != large["job"] == again["job"]
    assert workers["large"].claim().kind == "density_model"
    assert {one["model"] for one in (await gateway.get("/density-models")).json()["density_models"]} == {*MODELS}
    refused = await gateway.put("/density-models/handbag", params={"model": "none"})
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "model")


async def test_figures_are_of_each_model_also_before_it_had_a_job_or_a_worker(gateway, workers):
    await submit(gateway, model="large")
    text = (await gateway.get("/metrics")).text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    found = [one for one in samples if one.name == "rarebit_jobs_waiting"]
    waiting = {(one.labels["model"], one.labels["priority"]): one.value for one in found}
    assert waiting.keys() == {(model, priority) for model in MODELS for priority in ("low", "normal", "high")}
    assert {key for key, value in waiting.items() if value} == {("large", "normal")}
    assert {one.labels["model"] for one in samples if one.name == "rarebit_workers"} == {*MODELS}


async def test_pool_that_is_not_offered_any_more_is_told_while_somebody_is_at_work(gateway, client):
    old = Leases(client, worker="w", lease_s=30)
    old.recover()
    text = (await gateway.get("/metrics")).text
    assert 'rarebit_workers{model="rarebit"} 1.0' in text
    client.delete("{rarebit}:workers")
    assert 'model="rarebit"' not in (await gateway.get("/metrics")).text
