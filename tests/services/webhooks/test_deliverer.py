"""Deliveries over a real Redis to a real receiver: owed with the change, signed, tried again, sent once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from itertools import pairwise

import pytest
from standardwebhooks import Webhook as Signer

from servers import eventually, url_of
from services.errors import DeliveryNotFoundError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Notifications
from services.jobs.record import Metrics
from services.jobs.request import Webhook
from services.jobs.store import connect, connect_async
from services.webhooks.deliverer import Deliverer
from services.webhooks.egress import open_egress
from services.webhooks.outbox import DeliveryAttempt, Outbox
from tests.accepted import accepted
from tests.receiver import SECRET, receiving
from tests.services.jobs.moves import expire

QUICK_S = (0.05, 0.2, 0.4)


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def delivering(redis_url, schedule_s=QUICK_S, lease_s=60):
    """One gateway's deliverer."""

    async def describe(delivery):
        return {"id": delivery.subject}

    async with AsyncExitStack() as exits:
        client = await exits.enter_async_context(connect_async(redis_url))
        egress = await exits.enter_async_context(open_egress([ip_network("127.0.0.1/32")]))
        notifications = Notifications(client)
        await exits.enter_async_context(notifications.listening())
        deliverer = Deliverer(Outbox(client), egress, describe, lambda tenant: SECRET, schedule_s, lease_s)
        await exits.enter_async_context(deliverer.delivering(notifications))
        yield


@pytest.fixture
def ended(jobs, leases, receiver):
    """A job that succeeded and has a webhook; its id."""

    async def end(url=receiver.url):
        request = accepted(concept="lamp", webhook=Webhook(url=url))
        job_id = (await jobs.submit(request, keep_s=60, max_queued=99)).id
        leases.succeed(leases.claim(), [], [], Metrics())
        return job_id

    return end


async def only(outbox, job_id):
    [delivery] = await outbox.list(job_id)
    return delivery


async def becomes(outbox, job_id, status):
    async with asyncio.timeout(10):
        while (delivery := await only(outbox, job_id)).status != status:
            await asyncio.sleep(0.02)
    return delivery


def codes(delivery):
    return [attempt.status_code for attempt in delivery.attempts]


async def test_delivery_is_owed_as_soon_as_the_job_has_ended(outbox, ended):
    delivery = await only(outbox, await ended())
    assert (delivery.event, delivery.status, delivery.attempts) == ("job.succeeded", "pending", [])
    assert delivery.next_attempt_at == delivery.created_at


async def test_receiver_verifies_it_with_the_specifications_library(redis_url, outbox, receiver, ended):
    async with delivering(redis_url):
        job_id = await ended()
        delivery = await becomes(outbox, job_id, "delivered")
    [received] = receiver.got
    payload = Signer(SECRET).verify(received.body, received.headers)
    assert (payload["type"], payload["data"]) == ("job.succeeded", {"id": job_id})
    assert datetime.fromisoformat(payload["timestamp"]) == delivery.created_at
    assert received.headers["webhook-id"] == delivery.id
    assert received.headers["content-type"] == "application/json"
    assert (codes(delivery), delivery.next_attempt_at) == ([204], None)


async def test_failing_receiver_is_called_again_with_growing_pauses(redis_url, outbox, receiver, ended):
    receiver.reply(500, 404, 302, location=receiver.url)
    async with delivering(redis_url):
        delivery = await becomes(outbox, await ended(), "delivered")
    assert codes(delivery) == [500, 404, 302, 204]
    pauses = [after.at - before.at for before, after in pairwise(receiver.got)]
    assert all(pause >= least for pause, least in zip(pauses, QUICK_S, strict=True)), pauses
    assert set(receiver.ids) == {delivery.id}


async def test_delivery_is_given_up_after_the_schedule(redis_url, outbox, receiver, ended):
    receiver.reply(*[503] * 9)
    async with delivering(redis_url, (0.01, 0.01)):
        delivery = await becomes(outbox, await ended(), "failed")
    assert (codes(delivery), delivery.next_attempt_at) == ([503] * 3, None)


async def test_log_says_why_a_receiver_did_not_answer(redis_url, outbox, ended):
    async with delivering(redis_url, ()):
        nobody = await becomes(outbox, await ended("http://127.0.0.1:9/"), "failed")
        private = await becomes(outbox, await ended("http://127.0.0.2/"), "failed")
    assert [attempt.error for attempt in nobody.attempts] == ["All connection attempts failed"]
    assert [attempt.error for attempt in private.attempts] == ["the name has an address that webhooks may not call"]


@pytest.mark.parametrize(
    ("asked", "least_s", "most_s"),
    [
        ("3600", 3600, 3600),
        ("99999999", 86400, 86400),
        ("1", 60, 72),  # less than the schedule has
        ("soon", 60, 72),
        ("-5", 60, 72),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True), 7198, 7201),
    ],
)
async def test_retry_after_lengthens_a_pause_within_bounds(redis_url, outbox, receiver, ended, asked, least_s, most_s):
    receiver.reply(429, retry_after=asked if isinstance(asked, str) else asked())
    async with delivering(redis_url, (60,)):
        job_id = await ended()
        while not (delivery := await only(outbox, job_id)).attempts:
            await asyncio.sleep(0.02)
    pause_s = (delivery.next_attempt_at - delivery.attempts[0].at).total_seconds()
    assert least_s <= pause_s <= most_s + 2


async def test_410_disables_the_receiver_until_a_delivery_is_sent_again(redis_url, outbox, receiver, ended):
    receiver.reply(410)
    async with delivering(redis_url):
        first = await ended()
        assert codes(await becomes(outbox, first, "disabled")) == [410]
        second = await ended()
        assert codes(await becomes(outbox, second, "disabled")) == []
        await becomes(outbox, await ended(receiver.url + "/other"), "delivered")
        await outbox.redeliver(first, receiver.ids[0])
        assert codes(await becomes(outbox, first, "delivered")) == [410, 204]
        await becomes(outbox, await ended(), "delivered")
    assert len(receiver.got) == 4


async def test_410_disables_the_receiver_for_its_tenant_alone(redis_url, outbox, jobs, leases, receiver, ended):
    receiver.reply(410)
    async with delivering(redis_url):
        await becomes(outbox, await ended(), "disabled")
        request = accepted(concept="lamp", webhook=Webhook(url=receiver.url))
        job_id = (await jobs.of("other").submit(request, keep_s=60, max_queued=99)).id
        leases.succeed(leases.claim(), [], [], Metrics())
        await becomes(outbox.of("other"), job_id, "delivered")


async def test_redelivery_has_the_same_id_and_a_new_signature(redis_url, outbox, receiver, ended):
    async with delivering(redis_url):
        job_id = await ended()
        delivery = await becomes(outbox, job_id, "delivered")
        await asyncio.sleep(1)  # webhook-timestamp has seconds
        assert (await outbox.redeliver(job_id, delivery.id)).status == "pending"
        again = await becomes(outbox, job_id, "delivered")
    assert len(again.attempts) == 2
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])
    assert first.body == second.body
    Signer(SECRET).verify(second.body, second.headers)


async def test_redelivery_has_the_whole_schedule_again(redis_url, outbox, receiver, ended):
    receiver.reply(*[500] * 4)
    async with delivering(redis_url, (0.01,)):
        job_id = await ended()
        delivery = await becomes(outbox, job_id, "failed")
        await outbox.redeliver(job_id, delivery.id)
        assert codes(await becomes(outbox, job_id, "failed")) == [500] * 4


async def test_redelivery_asked_for_in_the_middle_of_an_attempt_is_sent_after_it(outbox, ended):
    job_id = await ended()
    [[delivery], _] = await outbox.take(1, 60)
    delivery = await outbox.redeliver(job_id, delivery.id)
    assert (await outbox.take(1, 60))[0][0].id == delivery.id


async def test_job_has_no_delivery_of_another(outbox, ended):
    first, second = await ended(), await ended()
    delivery = await only(outbox, first)
    for subject, delivery_id in ((second, delivery.id), (first, "msg_0"), ("0" * 32, delivery.id)):
        with pytest.raises(DeliveryNotFoundError):
            await outbox.redeliver(subject, delivery_id)


async def test_two_gateways_send_each_delivery_once(redis_url, outbox, receiver, ended):
    ids = [await ended() for _ in range(30)]
    async with delivering(redis_url), delivering(redis_url):
        ids += [await ended() for _ in range(30)]
        for job_id in ids:
            await becomes(outbox, job_id, "delivered")
    assert len(receiver.got) == 60
    assert len(set(receiver.ids)) == 60


async def test_delivery_of_a_gateway_that_died_is_sent_by_another(redis_url, outbox, receiver, ended):
    job_id = await ended()
    [[delivery], _] = await outbox.take(1, lease_s=0.5)
    async with delivering(redis_url):
        assert (await only(outbox, job_id)).attempts == []
        delivery = await becomes(outbox, job_id, "delivered")
    assert receiver.ids == [delivery.id]
    assert delivery.attempts[0].at > delivery.created_at + timedelta(seconds=0.5)


async def test_late_answer_of_a_lost_lease_is_logged_and_changes_nothing(outbox, ended):
    job_id = await ended()
    [[late], _] = await outbox.take(1, lease_s=0)
    [[current], _] = await outbox.take(1, lease_s=60)
    told = {"at": datetime.now(UTC), "duration_ms": 1}
    await outbox.log(late, DeliveryAttempt(status_code=410, **told), "failed")
    assert (await only(outbox, job_id)).status == "pending"
    await outbox.log(current, DeliveryAttempt(status_code=204, **told), "delivered")
    assert codes(await becomes(outbox, job_id, "delivered")) == [410, 204]


async def test_log_has_the_last_attempts(outbox, ended):
    job_id = await ended()
    for code in range(500, 525):
        [[delivery], _] = await outbox.take(1, lease_s=60)
        await outbox.log(delivery, DeliveryAttempt(at=datetime.now(UTC), status_code=code, duration_ms=1), "pending")
    assert codes(await only(outbox, job_id)) == list(range(505, 525))


async def test_redis_that_dies_and_comes_back_loses_no_delivery(own_redis, receiver):
    """The receiver hears of the job that ended before, and of the one that ended after, from the same gateway."""
    url = url_of(own_redis)
    async with delivering(url, lease_s=1):  # of deliveries that it took when the answer was lost
        for _ in range(2):
            async with connect_async(url) as client:
                with connect(url) as worker:
                    leases = Leases(worker, worker="w", lease_s=30)
                    request = accepted(concept="lamp", webhook=Webhook(url=receiver.url))
                    await Jobs(client).submit(request, keep_s=60, max_queued=99)
                    leases.succeed(leases.claim(), [], [], Metrics())
            own_redis.kill()
            own_redis.start()
        assert await asyncio.to_thread(eventually, lambda: len(set(receiver.ids)) == 2)


async def test_erased_job_is_told_of_no_more(redis_url, outbox, jobs, receiver, ended):
    job_id = await ended()
    await jobs.delete(job_id)
    async with delivering(redis_url):
        await becomes(outbox, await ended(), "delivered")
    assert len(receiver.got) == 1
    assert await outbox.list(job_id) == []


async def test_expired_job_leaves_its_deliveries(outbox, leases, ended, redis_url):
    job_id = await ended()
    expire(redis_url, leases, job_id)
    assert (await only(outbox, job_id)).event == "job.succeeded"
