"""What `POST /jobs` takes, and what a key, a full queue and a preferred wait make of it."""

import asyncio

import pytest

from services.jobs.record import JobStatus, Metrics
from services.texts.concepts import DEFAULT_PROMPT

JSON = {"content-type": "application/json"}


async def test_accepted_job_has_all_defaults_and_a_drawn_seed(gateway):
    answer = await gateway.post("/jobs", json={"concept": "handbag", "metadata": {"for": "spring"}})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/jobs/{job['id']}")
    assert int(answer.headers["retry-after"]) > 0
    assert (job["status"], job["concept"], job["metadata"]) == ("queued", "handbag", {"for": "spring"})
    assert job["queue"] == {"position": 1, "eta_seconds": None}
    request = job["request"]
    assert (request["prompt"], request["count"], request["steps"]) == (DEFAULT_PROMPT, 1, 50)
    assert request["rarity"] == {"percentile": 99.9, "bits": None, "ladder": None}
    assert isinstance(request["seed"], int)
    assert (request["mode"], request["space"], request["format"]) == ("calibrated", ["lora"], "png")
    assert job == (await gateway.get(job["urls"]["self"])).json()


async def test_accepted_request_is_itself_a_request(gateway):
    job = (await gateway.post("/jobs", json={"concept": "lamp", "rarity": {"bits": 4}})).json()
    again = (await gateway.post("/jobs", json=job["request"])).json()
    assert again["request"] == job["request"]


async def test_one_key_makes_one_job_however_many_ask_at_once(gateway):
    post = {"json": {"concept": "handbag"}, "headers": {"Idempotency-Key": "once"}}
    answers = await asyncio.gather(*(gateway.post("/jobs", **post) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_key_belongs_to_the_meaning_of_its_body(gateway):
    key = {"Idempotency-Key": "once"}
    first = await gateway.post("/jobs", json={"concept": "handbag", "count": 1}, headers=key)
    same = await gateway.post("/jobs", content=b'{ "concept": "handbag" }', headers=key | JSON)
    other = await gateway.post("/jobs", json={"concept": "lamp"}, headers=key)
    assert same.json()["id"] == first.json()["id"]
    assert same.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency_conflict")


async def test_key_of_an_expired_job_answers_gone(gateway, leases):
    post = {"json": {"concept": "handbag", "expires_in": 1}, "headers": {"Idempotency-Key": "once"}}
    assert (await gateway.post("/jobs", **post)).status_code == 202
    leases.succeed(leases.claim(), [], [], Metrics())
    await asyncio.sleep(1.1)
    assert (await gateway.post("/jobs", **post)).status_code == 410


async def test_invalid_request_does_not_spend_its_key(gateway):
    key = {"Idempotency-Key": "once"}
    assert (await gateway.post("/jobs", json={"concept": ""}, headers=key)).status_code == 422
    assert (await gateway.post("/jobs", json={"concept": "lamp"}, headers=key)).status_code == 202


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"max_queued": 60})


async def test_full_queue_says_so_and_when_to_come_back(gateway):
    for _ in range(60):
        await gateway.post("/jobs", json={"concept": "handbag"})
    answer = await gateway.post("/jobs", json={"concept": "handbag"})
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/queue_full")
    assert int(answer.headers["retry-after"]) > 0


async def test_preferred_wait_answers_with_the_finished_job(gateway, leases):
    posting = asyncio.create_task(
        gateway.post("/jobs", json={"concept": "handbag"}, headers={"Prefer": "respond-async, wait=20"})
    )
    while (claim := leases.claim()) is None:
        await asyncio.sleep(0.02)
    leases.succeed(claim, [], [], Metrics())
    answer = await asyncio.wait_for(posting, 5)
    assert (answer.status_code, answer.json()["status"]) == (200, JobStatus.SUCCEEDED)
    assert answer.headers["preference-applied"] == "wait=20"


@pytest.mark.parametrize(
    ("fields", "applied"),
    [
        (["wait=1", "respond-async"], "wait=1"),
        (["respond-async", "wait=1"], "wait=1"),
        (['respond-async, WAIT = "1"; strictly'], "wait=1"),
        (["wait=1, wait=9"], "wait=1"),
        (["wait=0001"], "wait=1"),
        (["wait=0, wait=1"], None),
        (["wait=-1"], None),
        (["handling=lenient; wait=1"], None),
        (['note="a, wait=1, b"'], None),
        (['note="a, wait=1'], None),
        (["note=" + '"\\"' * 20_000], None),
        (["await=1"], None),
    ],
)
async def test_preferences_are_one_list_of_which_the_first_wait_counts(gateway, fields, applied):
    headers = [("prefer", field) for field in fields]
    answer = await gateway.post("/jobs", json={"concept": "handbag"}, headers=headers)
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)


async def test_run_limit_of_the_service_bounds_the_request(gateway, settings):
    job = (await gateway.post("/jobs", json={"concept": "handbag", "run_within": 86400})).json()
    assert job["request"]["run_within"] == settings.run_limit_s
