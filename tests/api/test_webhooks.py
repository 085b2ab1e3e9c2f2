"""Webhooks through the API: what a request may ask for, what receivers are told, and the log of that."""

import asyncio
from ipaddress import ip_network

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Signer

from api.routes.deliveries import BatchMessage, JobMessage
from services.errors import DeliveryNotFoundError
from services.jobs.record import Metrics
from services.jobs.request import Webhook
from tests.accepted import accepted
from tests.receiver import SECRET, receiving


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def allowed():
    return ["127.0.0.1/32"]


@pytest.fixture
def settings(settings, allowed):
    networks = [ip_network(network) for network in allowed]
    return settings.model_copy(update={"webhook_secret": SecretStr(SECRET), "webhook_networks": networks})


async def submitted(gateway, url, **fields):
    answer = await gateway.post("/jobs", json={"concept": "handbag", "webhook": {"url": url}} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def deliveries_of(gateway, job_id, until):
    """As soon as the last of them has the status."""
    path = f"/jobs/{job_id}/deliveries"
    async with asyncio.timeout(10):
        while not (found := (await gateway.get(path)).json()["deliveries"]) or found[-1]["status"] != until:
            await asyncio.sleep(0.02)
    return found


async def test_receiver_is_told_how_the_job_ended(gateway, receiver, publish):
    job = await submitted(gateway, receiver.url, metadata={"order": "7"})
    publish(count=2)
    [delivery] = await deliveries_of(gateway, job["id"], "delivered")
    [received] = receiver.got
    payload = Signer(SECRET).verify(received.body, received.headers)
    assert (payload["type"], received.headers["webhook-id"]) == ("job.succeeded", delivery["id"])
    JobMessage.model_validate(payload, extra="forbid")  # as /openapi.json says
    document, data = (await gateway.get(f"/jobs/{job['id']}")).json(), payload["data"]
    for name in ("id", "status", "concept", "metadata", "created_at", "finished_at", "expires_at", "warnings", "urls"):
        assert data[name] == document[name], name
    assert not {"request", "queue", "progress"} & set(data)
    assert [output["rarity"] for output in data["outputs"]] == [output["rarity"] for output in document["outputs"]]
    assert "replay" not in data["outputs"][0]
    assert (await gateway.get(data["outputs"][1]["url"])).content == b"picture 1"


async def test_attempts_are_in_the_log(gateway, receiver, publish):
    receiver.reply(500)
    job = await submitted(gateway, receiver.url)
    publish()
    async with asyncio.timeout(10):
        while not (found := await deliveries_of(gateway, job["id"], "pending"))[0]["attempts"]:
            await asyncio.sleep(0.02)
    [delivery] = found
    [attempt] = delivery["attempts"]
    assert (attempt["status_code"], attempt["error"]) == (500, None)
    assert attempt["duration_ms"] < 5000
    assert delivery["next_attempt_at"] > attempt["at"] > delivery["created_at"]


async def test_all_events_that_are_asked_for_come_in_turn(gateway, receiver, publish):
    events = ["job.canceled", "job.started", "job.succeeded"]
    job = await submitted(gateway, receiver.url, webhook={"url": receiver.url, "events": events})
    publish()
    found = await deliveries_of(gateway, job["id"], "delivered")
    assert [delivery["event"] for delivery in found] == ["job.started", "job.succeeded"]
    async with asyncio.timeout(10):
        while sorted(receiver.types) != ["job.started", "job.succeeded"]:
            await asyncio.sleep(0.02)


async def test_redelivery_is_accepted_and_sent_with_the_same_id(gateway, receiver, publish):
    job = await submitted(gateway, receiver.url)
    publish()
    [delivery] = await deliveries_of(gateway, job["id"], "delivered")
    answer = await gateway.post(f"/jobs/{job['id']}/deliveries/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["id"]) == (202, delivery["id"])
    [again] = await deliveries_of(gateway, job["id"], "delivered")
    assert len(again["attempts"]) == 2
    assert receiver.ids == [delivery["id"]] * 2


async def test_delivery_of_an_expired_job_still_says_how_it_ended(gateway, receiver, leases):
    receiver.reply(503)
    job = await submitted(gateway, receiver.url, expires_in=1)
    leases.succeed(leases.claim(), [], [], Metrics())
    await asyncio.sleep(1.1)
    assert (await gateway.get(f"/jobs/{job['id']}")).status_code == 410
    [delivery] = await deliveries_of(gateway, job["id"], "pending")
    await gateway.post(f"/jobs/{job['id']}/deliveries/{delivery['id']}/redeliver")
    await deliveries_of(gateway, job["id"], "delivered")
    JobMessage.model_validate(receiver.got[-1].payload, extra="forbid")
    assert receiver.got[-1].payload["data"] == {"id": job["id"], "status": "succeeded"}


async def test_deliveries_of_nothing_are_not_found(gateway, publish):
    unknown = f"/jobs/{'0' * 32}/deliveries"
    assert (await gateway.get(unknown)).status_code == 404
    assert (await gateway.post(f"{unknown}/msg_{'0' * 40}/redeliver")).status_code == 404
    job = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    assert (await gateway.get(f"/jobs/{job['id']}/deliveries")).json() == {"deliveries": []}


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("design.test/hook", "no http"),
        ("ftp://design.test/", "no http"),
        ("https://", "no http"),
        ("https://me:secret@design.test/", "credentials"),  # pragma: allowlist secret
        ("https://me@design.test/", "credentials"),
        ("https://design.test/#part", "fragment"),
        ("https://design.test/" + "x" * 2048, "2048 characters at most"),
        ("https://design.test/" + "ü" * 2000, "longer than 2048"),
        ("https://10.0.0.7/", "may not call"),
        ("https://0xa000007/", "may not call"),
        ("https://169.254.169.254/latest/meta-data", "may not call"),
        ("https://[::1]/", "may not call"),
        ("https://[::ffff:10.0.0.7]/", "may not call"),
        ("https://localhost/", "may not call"),
        ("https://a.localhost./", "may not call"),
        ("http://design.test/", "has to be https"),
    ],
)
@pytest.mark.parametrize("allowed", [[]])
async def test_url_that_will_never_be_called_is_refused_where_it_stands(gateway, url, detail):
    answer = await gateway.post("/jobs", json={"concept": "handbag", "webhook": {"url": url}})
    [problem] = answer.json()["errors"]
    assert (answer.status_code, problem["pointer"]) == (422, "/webhook/url")
    assert detail in problem["detail"]
    assert "secret" not in answer.text


@pytest.mark.parametrize("events", [[], ["job.ended"], "job.failed", ["job.failed"] * 9])
async def test_events_that_do_not_exist_are_refused(gateway, events):
    webhook = {"url": "https://design.test/", "events": events}
    answer = await gateway.post("/jobs", json={"concept": "handbag", "webhook": webhook})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/webhook/events")


async def test_request_shows_the_webhook_as_it_is_called(gateway):
    job = await submitted(gateway, "https://DESIGN.test/a b?c")
    assert job["request"]["webhook"] == {
        "url": "https://design.test/a%20b?c",
        "events": ["job.succeeded", "job.failed", "job.canceled"],
    }
    assert (await gateway.post("/jobs", json=job["request"])).json()["request"] == job["request"]


async def test_log_of_the_process_has_neither_path_nor_query(gateway, receiver, publish, caplog):
    caplog.set_level("INFO", "services.webhooks.deliverer")
    job = await submitted(gateway, f"{receiver.url}/in-the-path?token=in-the-query")
    publish()
    await deliveries_of(gateway, job["id"], "delivered")
    assert "127.0.0.1" in caplog.text
    assert not any(secret in caplog.text for secret in ("in-the-path", "in-the-query", SECRET))


async def test_tenant_sees_and_repeats_no_delivery_of_another(gateway, app, receiver, publish):
    job = await submitted(gateway, receiver.url)
    publish()
    [delivery] = await deliveries_of(gateway, job["id"], "delivered")
    stranger = app.state.gateway.of("stranger").outbox
    assert await stranger.list(job["id"]) == []
    with pytest.raises(DeliveryNotFoundError):
        await stranger.redeliver(job["id"], delivery["id"])


async def test_tenant_is_told_of_its_own_job(gateway, app, receiver, publish):
    request = accepted(concept="lamp", webhook=Webhook(url=receiver.url))
    ours = app.state.gateway.of("ours")
    job_id = (await ours.jobs.submit(request, keep_s=60, max_queued=99)).id
    publish()
    async with asyncio.timeout(10):
        while not receiver.got:
            await asyncio.sleep(0.02)
    assert receiver.got[0].payload["data"]["concept"] == "lamp"
    assert [delivery.event for delivery in await ours.outbox.list(job_id)] == ["job.succeeded"]


async def test_job_of_a_batch_with_a_webhook_that_is_refused_is_refused(gateway):
    webhook = {"url": "https://10.0.0.7/"}
    answer = await gateway.post("/batches", json={"jobs": [{"concept": "lamp", "webhook": webhook}]})
    assert "may not call" in answer.text


class TestWithoutASecret:
    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"webhook_secret": None})

    async def test_request_with_a_webhook_is_refused(self, gateway):
        answer = await gateway.post("/jobs", json={"concept": "handbag", "webhook": {"url": "https://design.test"}})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/webhook")
        assert "RAREBIT_WEBHOOK_SECRET" in answer.json()["errors"][0]["detail"]


async def test_receiver_is_told_once_that_a_batch_is_finished(gateway, receiver, publish):
    body = {"jobs": [{"concept": "cup"}, {"concept": "lamp"}, {"concept": ""}], "webhook": {"url": receiver.url}}
    made = (await gateway.post("/batches", json=body)).json()
    publish()
    assert (await gateway.get(f"/batches/{made['id']}/deliveries")).json() == {"deliveries": []}
    await gateway.post(made["items"][1]["job"]["urls"]["cancel"])
    path = f"/batches/{made['id']}/deliveries"
    async with asyncio.timeout(10):
        while [one["status"] for one in (await gateway.get(path)).json()["deliveries"]] != ["delivered"]:
            await asyncio.sleep(0.02)
    [received] = receiver.got
    payload = Signer(SECRET).verify(received.body, received.headers)
    BatchMessage.model_validate(payload, extra="forbid")
    assert (payload["type"], payload["data"]["items"]) == (
        "batch.finished",
        {"succeeded": 1, "canceled": 1, "refused": 1},
    )
    again = await gateway.post(f"{path}/{received.headers['webhook-id']}/redeliver")
    assert (again.status_code, again.json()["id"]) == (202, received.headers["webhook-id"])


async def test_batch_whose_webhook_may_not_be_called_is_refused(gateway):
    body = {"jobs": [{"concept": "cup"}], "webhook": {"url": "https://10.0.0.1/"}}
    answer = await gateway.post("/batches", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/webhook/url")


@pytest.mark.parametrize("given", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0-0-zz", None])
async def test_clients_trace_goes_on_to_its_receiver_though_nobody_collects(gateway, receiver, publish, given):
    body = {"concept": "handbag", "webhook": {"url": receiver.url}}
    job = (await gateway.post("/jobs", json=body, headers={"traceparent": given} if given else {})).json()
    publish()
    await deliveries_of(gateway, job["id"], "delivered")
    [received] = receiver.got
    assert received.headers.get("traceparent") == (given if given and len(given) == 55 else None)
