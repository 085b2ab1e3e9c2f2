"""A short request makes no long work: what it reads, what it is answered with, and what it counts as."""

import httpx
import pytest

from api.app import create_app
from services.jobs.record import Metrics
from services.tenants import Limits, Tenants
from tests.published import store_output

STEERED = {"recipe": {"concept": "lamp", "avoid": [["x" * 9_000, "y" * 9_000, 0.5]]}, "threads": 2}
BODY = {"concept": "lamp"}


@pytest.fixture
def publish_steered(leases, storage):
    """Run the next job to its end with 16 pictures, whose replay blocks are long and nearly the same."""

    def run():
        claim = leases.claim()
        outputs = [store_output(storage, claim, index) for index in range(16)]
        replays = [STEERED | {"row_seed": index, "step": 9} for index in range(16)]
        leases.succeed(
            claim, [o.model_copy(update={"replay": r}) for o, r in zip(outputs, replays, strict=True)], [], Metrics()
        )
        return claim.id, replays

    return run


def calls(client):
    return client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"]


async def test_a_batch_reads_what_its_jobs_name_once(gateway, publish, client):
    jobs = [(await gateway.post("/jobs", json=BODY)).json()["id"] for _ in range(8)]
    for _ in jobs:
        publish(2)
    shared = {"avoid": [{"output": f"{job}/0"} for job in jobs], "toward": [{"output": f"{job}/1"} for job in jobs]}
    before = calls(client)
    batch = (await gateway.post("/batches", json={"jobs": [BODY] * 100, "shared": shared})).json()
    assert [item["status"] for item in batch["items"]] == [202] * 100
    assert calls(client) - before < 8 + 10  # the deliverer calls, too


async def test_each_job_of_a_batch_has_its_own_problems(gateway, publish):
    await gateway.post("/jobs", json=BODY)
    there = publish().id
    gone, other = {"output": "0" * 32 + "/0"}, {"output": f"{there}/0"}
    jobs = [BODY | {"toward": [other]}, {"concept": ""}, BODY | {"toward": [other, gone]}, BODY | {"avoid": [gone]}]
    batch = (await gateway.post("/batches", json={"jobs": jobs, "shared": {"image": {"upload": "0" * 32}}})).json()
    pointers = [[error["pointer"] for error in item["problem"]["errors"]] for item in batch["items"]]
    image = "/image/upload"
    assert pointers == [[image], ["/concept"], [image, "/toward/1/output"], [image, "/avoid/0/output"]]


async def test_what_a_run_has_in_common_is_kept_once_and_told_with_each_output(gateway, publish_steered, client):
    await gateway.post("/jobs", json=BODY)
    job_id, replays = publish_steered()
    kept = client.hgetall(f"{{rarebit}}:job:{job_id}")
    assert sum(map(len, kept.values())) < 2 * len(str(STEERED))
    job = (await gateway.get(f"/jobs/{job_id}")).json()
    assert [output["replay"] for output in job["outputs"]] == replays
    events = (await gateway.get(f"/jobs/{job_id}/events")).text
    assert events.count('"row_seed"') == 16


async def test_lists_and_batches_are_short_however_long_a_replay_is(gateway, publish_steered):
    batch = (await gateway.post("/batches", json={"jobs": [BODY] * 10})).json()
    for _ in range(10):
        publish_steered()
    for path in ("/jobs?limit=100", batch["urls"]["self"]):
        answer = await gateway.get(path)
        assert "replay" not in answer.text
        assert len(answer.content) < 160 * 1024  # 160 outputs
    [job, *_] = (await gateway.get("/jobs")).json()["jobs"]
    whole = (await gateway.get(f"/jobs/{job['id']}")).json()
    assert job.keys() == whole.keys()
    assert whole["outputs"][0].keys() - job["outputs"][0].keys() == {"download_url", "replay"}


async def test_fits_that_are_told_are_few_however_many_wait(gateway, client, jobs):
    job_id = (await gateway.put("/density-models/lamp")).json()["job"].rpartition("/")[2]
    client.hset("{rarebit}:fits:", mapping={f"{number:064x}": job_id for number in range(5000)})
    assert len((await gateway.get("/density-models")).json()["density_models"]) < 500
    assert (await gateway.put("/density-models/lamp")).json()["job"] == f"/jobs/{job_id}"


@pytest.fixture
async def limited(settings, client):
    """A client with a key whose tenant may send five requests a minute."""
    app = create_app(settings.model_copy(update={"auth": "keys"}))
    tenants = Tenants(client)
    tenants.limit("acme", Limits(rate=5))
    headers = {"Authorization": f"Bearer {tenants.create_key('acme')}"}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as c,
    ):
        yield c


def left(answer):
    return answer.headers["ratelimit"].split(";")[1]


async def test_a_batch_counts_as_its_jobs(limited):
    first = await limited.post("/batches", json={"jobs": [BODY] * 3})
    assert (first.status_code, left(first)) == (202, "r=2")
    second = await limited.post("/batches", json={"jobs": [BODY] * 3})
    assert (second.status_code, second.json()["type"]) == (429, "/problems/rate_limited")
    assert "counts as 3" in second.json()["detail"]
    third = await limited.post("/batches", json={"jobs": [BODY] * 2})  # what is refused counts as none
    assert (third.status_code, left(third)) == (202, "r=0")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobs", [BODY] * 6),
        ("sweep", [{"field": "/seed", "values": [1, 2]}, {"field": "/steps", "values": [1, 2, 3]}]),
    ],
)
async def test_a_batch_that_no_minute_has_room_for_is_told_so(limited, field, value):
    refused = await limited.post("/batches", json={field: value, "shared": BODY})
    assert (refused.status_code, left(refused)) == (422, "r=4")
    [error] = refused.json()["errors"]
    assert error == {
        "pointer": f"/{field}",
        "detail": "has 6 jobs, each of which counts as a request, and you may send 5 requests a minute",
    }


@pytest.mark.parametrize(
    ("path", "cost"),
    [
        ("/jobs", 1),
        ("/jobs?limit=20", 1),
        ("/jobs?limit=21", 2),
        ("/jobs?limit=100", 5),
        ("/jobs?limit=0", 1),
        ("/jobs?limit=" + "9" * 5000, 1),
        ("/batches/unknown", 5),
        ("/density-models", 1),
    ],
)
async def test_a_list_counts_by_what_it_may_tell(limited, path, cost):
    assert left(await limited.get(path)) == f"r={5 - cost}"
