"""Laws of the stream of events and of waiting, over real connections."""

import asyncio
import json
import time
from contextlib import aclosing

import httpx
import pytest

from api.app import create_app
from servers import served
from services.jobs.record import JobError, Metrics, Preview, PreviewPicture, Progress, TrialProgress
from services.jobs.store import connect

STEP = Progress(phase="optimize", step=1, steps=50, rarity_bits=2.5)
TRIAL = TrialProgress(bits=2.5, validity=None, x=-1.25, y=0.5, state="moving")
PREVIEW = Preview(
    step=25, pictures=[PreviewPicture(trial=0, bits=9.5, validity=0.9, url="data:image/jpeg;base64,AA==")]
)


@pytest.fixture
def url(settings):
    with served(create_app(settings)) as url:
        yield url


@pytest.fixture
def other_url(settings):
    """A second gateway over the same Redis."""
    with served(create_app(settings)) as url:
        yield url


async def submitted(url):
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return (await client.post("/jobs", json={"concept": "handbag"})).json()


async def told(lines):
    """The events of a stream, each as its id, name and document."""
    event = {}
    async for line in lines:
        if not line and event:
            yield event.get("id"), event["event"], json.loads(event["data"])
            event = {}
        name, _, value = line.partition(": ")
        if name:
            event[name] = value


async def follow(url, job, after=None, query=""):
    headers = {"Last-Event-ID": after} if after else {}
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
        client.stream("GET", job["urls"]["events"] + query, headers=headers) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert answer.headers["x-accel-buffering"] == "no"  # or nginx would keep events back
        async for event in told(answer.aiter_lines()):
            yield event


async def test_the_stream_tells_all_as_it_happens_and_ends_with_the_job(url, leases, publish):
    job = await submitted(url)
    seen = asyncio.create_task(collect(follow(url, job)))
    await asyncio.sleep(0.5)
    leases.progress(claim := leases.claim(), STEP, [TRIAL])
    leases.hand_back(claim)
    publish(count=2)
    events = await asyncio.wait_for(seen, 10)
    assert [name for _, name, _ in events] == ["status", "progress", "status", "status", "output", "output", "status"]
    assert events[1][2] == STEP.model_dump() | {"trials": [TRIAL.model_dump()]}
    assert events[-1][2] == {"status": "succeeded", "error": None, "warnings": []}
    output = events[-2][2]
    async with httpx.AsyncClient(trust_env=False) as client:
        path = output["url"].removeprefix("http://gateway")
        assert (output["index"], (await client.get(url + path)).content) == (1, b"picture 1")


async def collect(events):
    return [event async for event in events]


async def test_another_gateway_goes_on_after_the_last_event_that_was_seen(url, other_url, publish):
    job = await submitted(url)
    publish(count=3)
    whole = await collect(follow(url, job))
    assert len(whole) == 5
    for place in range(4):
        rest = await collect(follow(other_url, job, whole[place][0]))
        assert [event[:2] for event in rest] == [event[:2] for event in whole[place + 1 :]]


async def test_who_comes_again_after_the_end_is_told_to_stop(gateway, publish):
    job = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    publish()
    stream = (await gateway.get(job["urls"]["events"])).text
    last = stream.rstrip().rpartition("id: ")[2].split()[0]
    answer = await gateway.get(job["urls"]["events"], headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_silence_of_a_worker_is_told_without_an_id_until_another_takes_over(url, leases, redis_url):
    job = await submitted(url)
    leases.progress(leases.claim(), STEP)
    with connect(redis_url) as client:
        client.zincrby("{rarebit}:leases", -12_000, job["id"])
    async with aclosing(follow(url, job)) as events:
        before = [await anext(events) for _ in range(2)]
        silences = [await anext(events) for _ in range(3)]
        with connect(redis_url) as client:
            client.zadd("{rarebit}:leases", {job["id"]: 0})
        leases.recover()
        leases.claim()
        after = [await anext(events) for _ in range(2)]
    assert [data.get("silent_s") for _, _, data in before + after] == [None] * 4
    assert [data["status"] for _, _, data in after] == ["queued", "running"]
    for event_id, name, data in silences:
        assert (event_id, name, data | {"silent_s": None}) == (None, "progress", before[1][2])
    assert 12 <= silences[0][2]["silent_s"] < silences[-1][2]["silent_s"] < 30


async def test_a_failed_job_says_why_in_its_last_event(gateway, leases):
    job = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    error = JobError(code="storage", title="The object store does not answer", detail="it is away")
    leases.fail(leases.claim(), error, Metrics())
    [*_, (_, name, data)] = await collect(told(lines((await gateway.get(job["urls"]["events"])).text)))
    assert (name, data) == ("status", {"status": "failed", "error": error.model_dump(), "warnings": []})


async def lines(text):
    for line in text.splitlines():
        yield line


@pytest.mark.parametrize(
    ("path", "last", "status"),
    [("/jobs/00/events", "1-0", 404), ("/jobs/00/events", "yesterday", 422), ("/jobs/00/events", f"{2**64}-0", 422)],
)
async def test_a_stream_that_cannot_be_is_a_problem(gateway, path, last, status):
    answer = await gateway.get(path, headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_an_erased_job_ends_its_stream(url, jobs):
    job = await submitted(url)
    reading = asyncio.create_task(collect(follow(url, job)))
    await asyncio.sleep(0.5)
    await jobs.delete(job["id"])
    assert await asyncio.wait_for(reading, 10) == []


async def test_many_wait_at_once_and_are_answered_at_once(url, publish):
    job = await submitted(url)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=60) as client:
        waiting = [asyncio.create_task(client.get(f"/jobs/{job['id']}?wait=30")) for _ in range(300)]
        await asyncio.sleep(2)
        assert not any(task.done() for task in waiting)
        publish()
        begin = time.monotonic()
        answers = await asyncio.gather(*waiting)
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}
    assert time.monotonic() - begin < 15


async def asked(leases, claim):
    """Publish steps until the answer says that somebody asks for previews."""
    while not leases.progress(claim, STEP)[1]:
        await asyncio.sleep(0.05)


async def test_previews_come_without_an_id_and_only_to_those_who_ask(url, leases):
    job = await submitted(url)
    claim = leases.claim()
    assert leases.progress(claim, STEP) == ("running", False)
    curious, other = [asyncio.create_task(collect(follow(url, job, query=q))) for q in ("?previews=true", "")]
    await asyncio.wait_for(asked(leases, claim), 10)
    leases.show(claim, PREVIEW)
    await asyncio.sleep(0.5)
    leases.fail(claim, JobError(code="internal", title="", detail=""), Metrics())
    told, untold = await asyncio.wait_for(asyncio.gather(curious, other), 10)
    assert [event for event in told if event[1] == "preview"] == [(None, "preview", PREVIEW.model_dump())]
    assert untold == [event for event in told if event[1] != "preview"]


async def test_a_preview_replaces_the_one_before_and_is_kept_for_seconds(jobs, leases, redis_url, gateway):
    job = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    claim = leases.claim()
    for step in (25, 50):
        leases.show(claim, PREVIEW.model_copy(update={"step": step}))
    seen, data = await jobs.preview(job["id"], "", ask_s=30)
    assert Preview.model_validate_json(data).step == 50
    assert await jobs.preview(job["id"], seen, ask_s=30) is None
    with connect(redis_url) as client:
        assert 0 < client.pttl(f"{{rarebit}}:preview:{job['id']}") <= 10_000
        assert 0 < client.pttl(f"{{rarebit}}:watched:{job['id']}") <= 30_000


async def test_the_contract_says_what_each_event_has(gateway):
    document = (await gateway.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    event = document["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    data = event["schema"]["properties"]["data"]["contentSchema"]["oneOf"]
    told = [schemas[one["$ref"].rpartition("/")[2]]["properties"].keys() for one in data]
    assert [set(keys) for keys in told[:3]] == [
        {"status", "error", "warnings"},
        {"phase", "step", "steps", "rarity_bits", "silent_s", "trials"},
        {"step", "pictures"},
    ]
    assert {"index", "url", "rarity"} < set(told[3])
    assert {"TrialProgress", "PreviewPicture"} < schemas.keys()
