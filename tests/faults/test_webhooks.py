"""Gateways and receivers die around a delivery: the receiver hears of the job's end, under one webhook-id."""

import time
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook as Signer

from services.jobs.request import Webhook
from tests.faults.rig import Rig
from tests.receiver import SECRET, Receiver, receiving
from tests.servers import Server, eventually

HOOKS = {"RAREBIT_WEBHOOK_SECRET": SECRET, "RAREBIT_WEBHOOK_NETWORKS": '["127.0.0.1/32"]'}
ENDED = "record written, webhook owed"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def job_that_ends(broken: Rig, receiver: Receiver, step_s: float = 0.0) -> str:
    broken.start_workers()
    return broken.submit(step_s, webhook=Webhook(url=receiver.url))


def heard(receiver: Receiver, job_id: str, limit_s: float = 20) -> bool:
    """Whether the last that came tells of the job's end."""
    if not eventually(lambda: receiver.got != [], limit_s):
        return False
    payload = Signer(SECRET).verify(receiver.got[-1].body, receiver.got[-1].headers)
    return (payload["type"], payload["data"]["id"]) == ("job.succeeded", job_id)


@pytest.mark.fault(ENDED, "`kill -9` of every gateway before it is sent", "the next gateway sends it")
def test_end_that_no_gateway_saw_is_told_by_the_next_one(broken, receiver):
    gateway = broken.start_gateway(**HOOKS)
    job_id = job_that_ends(broken, receiver, step_s=0.3)
    gateway.kill()
    broken.wait_for_end()
    assert receiver.got == []
    gateway.start()
    assert heard(receiver, job_id)
    assert len(receiver.got) == 1


@pytest.mark.fault(ENDED, "`kill -9` of Redis and of the gateway", "the next gateway sends it")
def test_what_is_owed_survives_redis(broken, receiver):
    job_id = job_that_ends(broken, receiver)
    broken.wait_for_end()
    broken.redis.kill()
    broken.redis.start()
    broken.start_gateway(**HOOKS)
    assert heard(receiver, job_id)


@pytest.mark.slow
@pytest.mark.fault(
    ENDED, "`kill -9` of a gateway while it calls the receiver", "another calls within its lease of 60 s, same id"
)
def test_call_that_a_gateway_died_in_is_made_by_another(broken, receiver, record_property):
    gateways: list[Server] = [broken.start_gateway(**HOOKS) for _ in range(2)]
    receiver.hold_s = 3
    job_id = job_that_ends(broken, receiver)
    assert eventually(lambda: receiver.got != [])
    for gateway in gateways:
        gateway.kill()
    died = time.monotonic()
    gateways[0].start()
    assert eventually(lambda: len(receiver.got) == 2, 75)
    record_property("called again after", time.monotonic() - died)
    assert heard(receiver, job_id)
    assert len(set(receiver.ids)) == 1
