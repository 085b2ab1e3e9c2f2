"""Laws of batches."""

import asyncio

import pytest

from api.documents.resources import Batch

KEY = {"Idempotency-Key": "one"}


@pytest.fixture
def submit(gateway):
    async def submit(*jobs, shared=None, headers=None, status=202):
        answer = await gateway.post("/batches", json={"jobs": jobs, "shared": shared or {}}, headers=headers or {})
        assert answer.status_code == status
        return answer.json()

    return submit


def statuses(batch):
    return [item["status"] for item in batch["items"]]


async def test_each_job_has_what_is_shared_unless_it_says_otherwise(submit):
    batch = await submit({"concept": "cup"}, {"concept": "lamp", "count": 1}, shared={"count": 4, "seed": 7})
    jobs = [item["job"] for item in batch["items"]]
    assert [(job["concept"], job["request"]["count"], job["request"]["seed"]) for job in jobs] == [
        ("cup", 4, 7),
        ("lamp", 1, 7),
    ]


async def test_bad_job_has_the_problem_of_its_own_and_the_others_run(submit, gateway, publish):
    bad = {"concept": "cup", "rarity": {"bits": 99}}
    batch = await submit(bad, {"concept": "lamp"}, {"concept": "cup", "avoid": [{"output": "0" * 32 + "/0"}]})
    assert statuses(batch) == [422, 202, 422]
    alone = await gateway.post("/jobs", json=bad)
    assert batch["items"][0]["problem"] == alone.json()
    assert batch["items"][2]["problem"]["errors"][0]["pointer"] == "/avoid/0/output"
    publish()
    assert (await gateway.get(batch["urls"]["self"])).json()["items"][1]["job"]["status"] == "succeeded"


async def test_batch_is_finished_when_its_last_job_has_ended(submit, gateway, publish):
    batch = await submit({"concept": "cup"}, {"concept": "lamp"})
    publish()
    assert (await gateway.get(batch["urls"]["self"])).json()["finished_at"] is None
    publish()
    assert (await gateway.get(batch["urls"]["self"])).json()["finished_at"] is not None


async def test_jobs_of_a_batch_run_in_order(submit, publish):
    batch = await submit(*[{"concept": "cup"}] * 20)
    assert [publish().id for _ in range(20)] == [item["job"]["id"] for item in batch["items"]]


async def test_batch_without_a_single_job_is_finished_at_once(submit):
    assert (await submit({"concept": ""}))["finished_at"] is not None


async def test_cancelled_and_erased_jobs_end_a_batch(submit, gateway):
    batch = await submit({"concept": "cup"}, {"concept": "lamp"})
    await gateway.delete(batch["items"][0]["job"]["urls"]["self"])
    canceled = (await gateway.post(batch["urls"]["cancel"])).json()
    assert statuses(canceled) == [410, 202]
    assert canceled["items"][1]["job"]["status"] == "canceled"
    assert canceled["finished_at"] is not None


async def test_same_key_and_body_is_one_batch_also_for_many_at_once(submit):
    batches = await asyncio.gather(*(submit({"concept": "cup", "seed": 1}, headers=KEY) for _ in range(20)))
    assert len({batch["id"] for batch in batches}) == 1
    assert (await submit({"concept": "lamp"}, headers=KEY, status=422))["type"].endswith("idempotency_conflict")


async def test_jobs_beyond_the_queues_limit_are_refused_one_by_one(app, submit, gateway):
    object.__setattr__(app.state.gateway.settings, "max_queued", 2)
    batch = await submit(*[{"concept": "cup"}] * 3)
    assert statuses(batch) == [202, 202, 429]
    assert batch["items"][2]["problem"]["type"].endswith("queue_full")
    assert statuses((await gateway.get(batch["urls"]["self"])).json()) == [202, 202, 429]


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": [{"concept": "cup"}] * 101}, {"jobs": [1]}, {"job": []}])
async def test_body_that_is_no_batch_is_refused(gateway, body):
    assert (await gateway.post("/batches", json=body)).status_code == 422


async def test_unknown_batch_is_not_found(gateway):
    assert (await gateway.get("/batches/unknown")).status_code == 404
    assert (await gateway.post("/batches/unknown/cancel")).status_code == 404


async def test_answer_is_the_documented_one(submit):
    batch = await submit({"concept": "cup"}, {"concept": ""})
    assert Batch.model_validate(batch).model_dump(mode="json", exclude_none=True).keys() <= batch.keys()


async def test_a_batch_without_a_body_is_refused_as_a_job_without_one_is(gateway):
    batch, job = [
        await gateway.post(path, headers={"content-type": "application/json"}) for path in ("/batches", "/jobs")
    ]
    assert batch.status_code == job.status_code == 422
    assert batch.json()["errors"] == job.json()["errors"]


def swept(*axes):
    return [{"field": field, "values": values} for field, values in axes]


async def test_a_sweep_is_a_job_for_each_combination_with_one_seed(gateway):
    axes = swept(("/rarity/bits", [2, 5]), ("/toward", [[], [{"text": "red"}], [{"text": ""}]]))
    shared = {"concept": "chair", "rarity": {"bits": 20}, "count": 2}
    batch = (await gateway.post("/batches", json={"sweep": axes, "shared": shared})).json()
    assert statuses(batch) == [202, 202, 422] * 2
    assert batch["items"][2]["problem"]["errors"][0]["pointer"] == "/toward/0/text"
    requests = [item["job"]["request"] for item in batch["items"] if item.get("job")]
    grid = [(request["rarity"]["bits"], [wish["text"] for wish in request["toward"]]) for request in requests]
    assert grid == [(2, []), (2, ["red"]), (5, []), (5, ["red"])]
    assert len({request["seed"] for request in requests}) == 1
    assert (await gateway.get(batch["urls"]["self"])).json()["sweep"] == axes


@pytest.mark.parametrize(("shared", "seeds"), [({}, [7, 7, 8, 8]), ({"seed": 3}, [7, 7, 8, 8])])
async def test_seeds_that_are_named_hold(gateway, shared, seeds):
    axes = swept(("/seed", [7, 8]), ("/concept", ["chair", "cup"]))
    batch = (await gateway.post("/batches", json={"sweep": axes, "shared": shared})).json()
    assert [item["job"]["request"]["seed"] for item in batch["items"]] == seeds


@pytest.mark.parametrize(
    ("body", "pointer", "told"),
    [
        ({}, "", "give exactly one of jobs and sweep, and not empty"),
        ({"jobs": [{"concept": "cup"}], "sweep": swept(("/seed", [1]))}, "", "give exactly one of jobs and sweep"),
        ({"sweep": swept(("/seed", [1]), ("/seed", [2]))}, "/sweep/1/field", "is an axis already"),
        ({"sweep": swept(("/seed", [*range(11)]), ("/steps", [*range(10)]))}, "/sweep", "asks for 110 jobs, 100 are"),
        ({"sweep": swept(("seed", [1]))}, "/sweep/0/field", "has to be a JSON pointer to a field of a job"),
        ({"sweep": swept(("/seed", []))}, "/sweep/0/values", ""),
    ],
)
async def test_a_sweep_that_cannot_be_is_named(gateway, body, pointer, told):
    refused = await gateway.post("/batches", json=body)
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (422, pointer)
    assert told in error["detail"]
