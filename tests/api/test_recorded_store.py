"""A store that another version of the service has written is read and served: an earlier one's, and a later one's."""

import json
from pathlib import Path

import pytest

from api.documents.resources import Job, JobList
from services.jobs.leases import Leases
from services.jobs.store import connect, connect_async
from services.tenants import Doorkeeper, Tenants
from services.webhooks.outbox import Outbox
from tests.accepted import accepted

RECORDED = json.loads((Path(__file__).parents[1] / "recorded_store.json").read_text())
NAMES, STORE = RECORDED["names"], RECORDED["store"]
UNKNOWN = {"added_later": {"by": ["a", "newer", "version"]}}


def with_unknown(value):
    """The document with a field that nobody knows in each of its objects; `metadata` is the client's own."""
    if isinstance(value, list):
        return [with_unknown(one) for one in value]
    if isinstance(value, dict):
        return {name: one if name == "metadata" else with_unknown(one) for name, one in value.items()} | UNKNOWN
    return value


def without_unknown(value):
    if isinstance(value, list):
        return [without_unknown(one) for one in value]
    if isinstance(value, dict):
        return {name: without_unknown(one) for name, one in value.items() if name not in UNKNOWN}
    return value


def of_before(value, recorded):
    """The value without the fields that there were not when it was recorded."""
    if isinstance(recorded, dict):
        return {name: of_before(value[name], recorded[name]) for name in recorded}
    if isinstance(recorded, list):
        return [of_before(*pair) for pair in zip(value, recorded, strict=True)]
    return value


def newer(text):
    """The text as a newer version would have it; one that is no document stays."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return text
    return json.dumps(with_unknown(document)) if isinstance(document, dict | list) else text


def write(client, change=lambda text: text, more=None):
    """The recorded store, its documents changed, and its hashes and events with `more` fields."""
    more = more or {}
    for key, (kind, value) in STORE.items():
        match kind:
            case "hash":
                keyed = key.startswith(
                    ("{rarebit}:job:", "{rarebit}:upload:", "{rarebit}:batch:", "{rarebit}:delivery:")
                )
                client.hset(key, mapping={name: change(text) for name, text in value.items()} | (more if keyed else {}))
            case "string":
                client.set(key, value)
            case "list":
                client.rpush(key, *map(change, value))
            case "set":
                client.sadd(key, *value)
            case "zset":
                client.zadd(key, dict(value))
            case "stream":
                for event_id, fields in value:
                    told = {"data": change(fields["data"])}
                    client.xadd(key, fields | told | more, id=event_id)


@pytest.fixture(params=["an earlier version", "a later version"])
def recorded(request, redis_url):
    with connect(redis_url) as client:
        if request.param == "an earlier version":
            write(client)
        else:
            write(client, newer, {"added_later": "by a newer version"})
        yield client


async def read(gateway, name):
    answer = await gateway.get(f"/jobs/{NAMES[name]}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", ["queued", "running", "succeeded", "failed", "canceled", "quarantined", "fit"])
async def test_a_job_is_what_it_was(recorded, gateway, name):
    job = await read(gateway, name)
    status = {"quarantined": "failed", "fit": "queued"}.get(name, name)
    assert (job["id"], job["status"]) == (NAMES[name], status)
    Job.model_validate(job)
    asked = json.loads(STORE[f"{{rarebit}}:job:{NAMES[name]}"][1]["request"])
    assert of_before(job["request"], asked) == asked


async def test_outputs_have_their_whole_replay(recorded, gateway):
    job = await read(gateway, "succeeded")
    kept = json.loads(STORE[f"{{rarebit}}:job:{NAMES['succeeded']}"][1]["result"])["outputs"]
    for output, recorded_output in zip(job["outputs"], kept, strict=True):
        assert without_unknown(output["replay"]) == recorded_output["replay"]


async def test_lists_and_batches_have_all_of_it(recorded, gateway):
    listed = JobList.model_validate((await gateway.get("/jobs?limit=100")).json())
    assert {job.id for job in listed.jobs} == set(dict(STORE["{rarebit}:jobs:"][1]))
    assert listed.unreadable == []
    batch = (await gateway.get(f"/batches/{NAMES['batch']}")).json()
    assert [item["status"] for item in batch["items"]] == [202, 422, 202]
    assert [job["id"] for job in (await gateway.get("/quarantine")).json()["jobs"]] == [NAMES["quarantined"]]


async def test_events_are_told_to_the_end(recorded, gateway):
    told = (await gateway.get(f"/jobs/{NAMES['succeeded']}/events")).text
    assert told.count("event: output") == 2
    assert "succeeded" in told


async def test_what_is_beside_jobs_is_served(recorded, gateway):
    assert (await gateway.get(f"/images/{NAMES['upload']}")).status_code == 200
    exposure = (await gateway.get("/exposures/user-7")).json()
    assert (exposure["size"], exposure["feedback"]["liked"]) == (2, 1)
    models = (await gateway.get("/density-models")).json()["density_models"]
    assert [(model["concept"], model["status"]) for model in models] == [("armchair", "fitting"), ("handbag", "ready")]
    deliveries = (await gateway.get(f"/jobs/{NAMES['succeeded']}/deliveries")).json()["deliveries"]
    assert [attempt["status_code"] for attempt in deliveries[0]["attempts"]][:1] == [503]


async def test_deliveries_are_sent_and_keys_open(recorded, redis_url):
    async with connect_async(redis_url) as client:
        deliveries, _ = await Outbox(client).take(9, 60)
        caller = await Doorkeeper(client).admit(f"Bearer {NAMES['key']}")
    assert [delivery.event for delivery in deliveries] == ["batch.finished"]
    assert (caller.tenant, caller.operator, caller.limits.rate) == ("acme", True, 60)
    assert [key.tenant for key in Tenants(recorded).list_keys()] == ["acme"]


async def test_what_waits_is_claimed_in_its_turn_and_run(recorded, gateway, leases):
    claims = [leases.claim(), leases.claim()]
    assert [claim.id for claim in claims] == [NAMES["fit"], NAMES["queued"]]
    assert leases.claim() is None
    assert claims[1].request.image.upload == NAMES["upload"]


async def test_what_waits_is_the_defaults_whatever_it_is_called_now(recorded, leases):
    default = Leases(recorded, worker="w", lease_s=30, model="mini", adopts_unnamed=True)
    default.recover()
    assert leases.claim() is None
    assert [default.claim().id, default.claim().id, default.claim()] == [NAMES["fit"], NAMES["queued"], None]


async def test_a_replayed_submission_finds_its_job(recorded, jobs):
    same = {"idempotency_key": "once", "body_hash": "0"}
    submitted = await jobs.submit(accepted(concept="handbag"), keep_s=60, max_queued=99, **same)
    assert (submitted.id, submitted.replayed) == (NAMES["succeeded"], True)
