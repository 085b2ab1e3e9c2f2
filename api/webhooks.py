"""Webhooks at the gateway: which a request may name, and what receivers are told."""

from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from api.deps import Gateway
from api.documents.resources import Batch, JobSummary
from api.documents.webhook_data import (
    BatchNotification,
    ExpiredBatchNotification,
    ExpiredJobNotification,
    JobNotification,
)
from services.errors import BatchNotFoundError, JobExpiredError, JobNotFoundError, UnreadableError
from services.jobs.record import JobStatus
from services.jobs.request import BatchWebhook, Webhook
from services.settings import Settings
from services.webhooks.egress import Address, may_call
from services.webhooks.outbox import DueDelivery

BodyProblem = dict[str, object]  # as RequestValidationError takes them


def secret_of(settings: Settings, tenant: str) -> str | None:
    """What deliveries to the tenant are signed with; all have the service's, today."""
    secret = settings.webhook_secret
    return None if secret is None else secret.get_secret_value()


def webhook_problems(settings: Settings, webhook: Webhook | BatchWebhook | None) -> Iterator[BodyProblem]:
    """Why it would never be called: no secret, plain http, or a private address. Names are looked up at each call."""
    if webhook and settings.webhook_secret is None:
        yield {"loc": ("body", "webhook"), "msg": "is not offered here: RAREBIT_WEBHOOK_SECRET is not set"}
    elif webhook:
        for detail in _objections(settings, webhook.url):
            yield {"loc": ("body", "webhook", "url"), "msg": detail}


def _objections(settings: Settings, text: str) -> Iterator[str]:
    url = urlsplit(text)
    if url.scheme == "http" and not settings.webhook_networks:
        yield "has to be https"
    address = _literal(url.hostname or "")
    if address and not may_call(address, settings.webhook_networks, public=url.scheme == "https"):
        yield "names an address that webhooks may not call"


def _literal(host: str) -> Address | None:
    """The address that the host is in so many words; localhost is loopback by definition (RFC 6761)."""
    name = host.rstrip(".")
    try:
        return ip_address("127.0.0.1" if name == "localhost" or name.endswith(".localhost") else name)
    except ValueError:
        return None


async def describe(gateway: Gateway, delivery: DueDelivery) -> dict[str, Any]:
    """The `data` of the payload: the event's subject as it is now, with fresh URLs."""
    kind, _, word = delivery.event.partition(".")
    return (await _SUBJECTS[kind](gateway, delivery, word)).model_dump(mode="json")


async def _job(gateway: Gateway, delivery: DueDelivery, word: str) -> JobNotification | ExpiredJobNotification:
    try:
        record, place = await gateway.of(delivery.tenant).jobs.get(delivery.subject)
    except (JobNotFoundError, JobExpiredError, UnreadableError):
        status = JobStatus.RUNNING if word == "started" else JobStatus(word)
        return ExpiredJobNotification(id=delivery.subject, status=status)
    return JobNotification.of(JobSummary.of(record, place, gateway.links))


async def _batch(gateway: Gateway, delivery: DueDelivery, _word: str) -> BatchNotification | ExpiredBatchNotification:
    try:
        batch = await gateway.of(delivery.tenant).batches.get(delivery.subject)
    except (BatchNotFoundError, UnreadableError):
        return ExpiredBatchNotification(id=delivery.subject)
    return BatchNotification.of(Batch.of(batch, gateway.links))


_SUBJECTS: dict[str, Callable[[Gateway, DueDelivery, str], Awaitable[BaseModel]]] = {"job": _job, "batch": _batch}
