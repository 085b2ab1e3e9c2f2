"""What Prometheus reads is what has happened."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from servers import Server, served, url_of
from services.errors import LeaseLostError
from services.jobs.leases import Leases
from services.jobs.record import JobError, Metrics
from services.jobs.store import connect

DOCS = Path(__file__).parents[2] / "docs"
OWN = "rarebit"  # the model
FAILURE = JobError(code="internal", title="The service failed", detail="The worker met a ValueError.")


async def read(gateway):
    """Every sample: its name and the values of its labels, and its value."""
    answer = await gateway.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


async def submit(gateway, **fields):
    return (await gateway.post("/jobs", json={"concept": "handbag"} | fields)).json()["id"]


async def test_requests_are_counted_by_the_template_of_their_route(gateway):
    for job_id in (await submit(gateway), "none", "neither"):
        await gateway.get(f"/jobs/{job_id}")
    samples = await read(gateway)
    assert samples["rarebit_http_requests_total", "POST", "/jobs", "202"] == 1
    assert samples["rarebit_http_requests_total", "GET", "/jobs/{job_id}", "200"] == 1
    assert samples["rarebit_http_requests_total", "GET", "/jobs/{job_id}", "404"] == 2
    assert samples["rarebit_http_request_seconds_count", "GET", "/jobs/{job_id}"] == 3


async def test_strangers_paths_and_methods_make_no_series_of_their_own(gateway):
    for number in range(50):
        await gateway.request(f"METHOD{number}", f"/nothing/{number}")
    samples = await read(gateway)
    assert samples["rarebit_http_requests_total", "other", "other", "404"] == 50
    assert {key for key in samples if "_requests_total" in key[0]} == {
        ("rarebit_http_requests_total", "other", "other", "404")
    }


async def test_requests_that_ask_to_wait_are_not_timed(gateway):
    job_id = await submit(gateway)
    await gateway.get(f"/jobs/{job_id}?wait=1")
    await gateway.post("/jobs", json={"concept": "lamp"}, headers={"prefer": "wait=1"})
    samples = await read(gateway)
    assert samples["rarebit_http_requests_total", "GET", "/jobs/{job_id}", "200"] == 1
    assert ("rarebit_http_request_seconds_count", "GET", "/jobs/{job_id}") not in samples
    assert samples["rarebit_http_request_seconds_count", "POST", "/jobs"] == 1


async def test_unexpected_error_is_counted_as_what_it_is_answered_with(gateway, app):
    app.add_api_route("/fails", lambda: 1 / 0)
    await gateway.get("/fails")
    assert (await read(gateway))["rarebit_http_requests_total", "GET", "/fails", "500"] == 1


async def test_open_streams_and_long_polls_are_counted_while_they_are_open(app):
    with served(app) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as gateway:
            job_id = await submit(gateway)
            poll = asyncio.create_task(gateway.get(f"/jobs/{job_id}?wait=30"))
            async with gateway.stream("GET", f"/jobs/{job_id}/events"):
                await until(gateway, {"rarebit_event_streams": 1, "rarebit_long_polls": 1})
            await gateway.post(f"/jobs/{job_id}/cancel")
            await poll
            await until(gateway, {"rarebit_event_streams": 0, "rarebit_long_polls": 0})


async def until(gateway, values):
    """Wait for samples without labels to have these values."""
    async with asyncio.timeout(10):
        while True:
            samples = await read(gateway)
            if all(samples[name,] == value for name, value in values.items()):
                return
            await asyncio.sleep(0.02)


async def test_job_store_is_told_in_figures(gateway, publish, leases, lose_next):
    assert (await read(gateway))["rarebit_oldest_waiting_seconds", OWN] == 0
    for _ in range(2):
        await submit(gateway)
        publish()
    await submit(gateway)
    leases.fail(leases.claim(), FAILURE, Metrics())
    await submit(gateway)
    lose_next()
    await gateway.post(f"/jobs/{await submit(gateway)}/cancel")
    await submit(gateway)
    leases.claim()
    for priority in ("normal", "normal", "low"):
        await submit(gateway, priority=priority)
    samples = await read(gateway)
    waiting = {priority: samples["rarebit_jobs_waiting", OWN, priority] for priority in ("low", "normal", "high")}
    assert waiting == {"low": 1, "normal": 2, "high": 0}
    assert 0 <= samples["rarebit_oldest_waiting_seconds", OWN] < 10
    assert samples["rarebit_jobs_running", OWN] == 1
    assert samples["rarebit_jobs_quarantined",] == 1
    assert samples["rarebit_workers", OWN] == 3
    ended = {status: samples["rarebit_jobs_ended_total", OWN, status] for status in ("succeeded", "failed", "canceled")}
    assert ended == {"succeeded": 2, "failed": 2, "canceled": 1}
    assert samples["rarebit_objects_due",] > 0
    assert samples["rarebit_job_seconds", OWN, "0.5"] <= samples["rarebit_job_seconds", OWN, "0.9"] < 10


async def test_quantiles_are_a_summarys(gateway, publish):
    for _ in range(2):
        await submit(gateway)
        publish()
    families = text_string_to_metric_families((await gateway.get("/metrics")).text)
    quantiles = {family.name: family.type for family in families if "quantile" in family.samples[0].labels}
    assert quantiles == {"rarebit_job_seconds": "summary"}


async def test_oldest_waiting_job_is_the_one_that_was_submitted_first(gateway, publish):
    """However many overtake it."""
    await submit(gateway, priority="low")
    await asyncio.sleep(0.1)
    await submit(gateway, priority="high")
    publish()
    assert 0.1 <= (await read(gateway))["rarebit_oldest_waiting_seconds", OWN] < 10
    publish()
    assert (await read(gateway))["rarebit_oldest_waiting_seconds", OWN] == 0


async def test_histograms_tell_where_the_time_went_and_how_far_pictures_are_off(gateway, publish, leases):
    for bits in (9.25, 10.5):
        await submit(gateway, rarity={"bits": bits})
        publish(count=2)  # of 10 bits, validity 0.9, after 5 ms of decoding
    await submit(gateway)
    leases.fail(leases.claim(), FAILURE, Metrics(decode_ms=7))
    samples = await read(gateway)
    assert samples["rarebit_stage_seconds_count", OWN, "decode"] == 2
    assert samples["rarebit_stage_seconds_sum", OWN, "decode"] == 0.01
    assert samples["rarebit_stage_seconds_bucket", "0.1", OWN, "decode"] == 2
    assert samples["rarebit_stage_seconds_count", OWN, "check"] == 0
    verdicts = {
        verdict: samples["rarebit_pictures_total", OWN, verdict] for verdict in ("valid", "doubtful", "unknown")
    }
    assert verdicts == {"valid": 4, "doubtful": 0, "unknown": 0}
    above = {
        bound: samples["rarebit_rarity_above_target_bucket", bound, OWN] for bound in ("-1.0", "-0.5", "0.5", "1.0")
    }
    assert above == {"-1.0": 0, "-0.5": 2, "0.5": 2, "1.0": 4}


async def test_workers_tell_of_themselves(gateway, leases):
    leases.recover({"worker:busy": 1500, "densities:fit": 2, "energy:mj": 7_200_000}, 0.25)
    samples = await read(gateway)
    assert (samples["rarebit_worker_seconds_total", OWN, "busy"], samples["rarebit_device_memory_ratio", OWN]) == (
        1.5,
        0.25,
    )
    assert samples["rarebit_density_lookups_total", "fit", OWN] == 2
    assert samples["rarebit_energy_joules_total", OWN] == 7200


async def test_promises_that_held_are_told(gateway, redis_url):
    with connect(redis_url) as client:
        client.hset("{rarebit}:counters", mapping={"eta:promised": 10, "eta:held": 9})
    samples = await read(gateway)
    assert (samples["rarebit_eta_promised_total", OWN], samples["rarebit_eta_held_total", OWN]) == (10, 9)


async def test_attempt_that_lost_its_job_ends_no_job(gateway, redis_url):
    await submit(gateway)
    with connect(redis_url) as client:
        late = Leases(client, worker="late", lease_s=0)
        claim = late.claim()
        Leases(client, worker="well", lease_s=30).recover()
        with pytest.raises(LeaseLostError):
            late.fail(claim, FAILURE, Metrics())
    assert (await read(gateway))["rarebit_jobs_ended_total", OWN, "failed"] == 0


@pytest.mark.parametrize("outage", [Server.kill, Server.freeze], ids=["dead", "frozen"])
async def test_without_redis_the_gateway_tells_what_it_counts_itself(settings, own_redis, outage):
    with served(create_app(settings.model_copy(update={"redis_url": url_of(own_redis)}))) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=8) as gateway:
            assert ("rarebit_workers", OWN) in await read(gateway)
            outage(own_redis)
            samples = await read(gateway)
        own_redis.kill()
    assert samples["rarebit_http_requests_total", "GET", "/metrics", "200"] == 1
    assert not {"rarebit_workers", "rarebit_jobs_ended_total", "rarebit_jobs_waiting"} & {name for name, *_ in samples}


async def test_every_metric_is_in_the_table_for_operators(gateway, publish, leases):
    table = re.findall(r"^\| `(rarebit_\w+)` \| ([^|]*)\|", (DOCS / "operating.md").read_text(), re.MULTILINE)
    for _ in range(2):
        await submit(gateway)
        publish()
    leases.recover(device_memory=0.5)
    text = (await gateway.get("/metrics")).text + (await gateway.get("/metrics")).text
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith("rarebit_")]
    told = {
        family.name + "_total" * (family.type == "counter"): set(family.samples[0].labels) - {"le"}
        for family in families
    }
    assert {name: set(re.findall(r"\w+", labels)) for name, labels in table} == told
