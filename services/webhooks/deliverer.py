"""Sends what is in the outbox, signed by the Standard Webhooks specification (https://www.standardwebhooks.com).

Every gateway runs one; whoever takes a delivery first has it under a lease. What a gateway leaves behind that dies in
the middle is sent by another when the lease ends, so that a receiver may get it twice, under one webhook-id.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpcore
from opentelemetry.trace import Span, SpanKind, StatusCode
from redis.exceptions import RedisError
from standardwebhooks import Webhook as Signer

from services import __version__, tracing
from services.jobs.notifications import Notifications, running
from services.logs import tell_about
from services.webhooks.egress import Answer, Egress
from services.webhooks.outbox import DeliveryAttempt, DeliveryStatus, DueDelivery, Outbox

SCHEDULE_S = (5, 300, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)  # the specification's: 76 h
JITTER = 0.2  # of a pause, at most, on top of it
RETRY_AFTER_LIMIT_S = 24 * 3600
DELIVERIES = 64  # at once, of this process
ATTEMPT_S = 15.0
LEASE_S = 60.0
GRACE_S = 5.0
_AGENT = f"rarebit/{__version__}"
_IDLE_S = 60.0
_PAUSE_S = 0.5
_FAILURES = (TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)

Describe = Callable[[DueDelivery], Awaitable[dict[str, Any]]]  # the payload's `data`
SecretOf = Callable[[str], str | None]  # a tenant's; None where webhooks are off

logger = logging.getLogger(__name__)


class Deliverer:
    """Takes deliveries when they are due and makes one attempt at each; the pauses between are `schedule_s`."""

    def __init__(
        self,
        outbox: Outbox,
        egress: Egress,
        describe: Describe,
        secret_of: SecretOf,
        schedule_s: Sequence[float] = SCHEDULE_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._outbox, self._egress = outbox, egress
        self._describe, self._secret_of = describe, secret_of
        self._schedule_s, self._lease_s = schedule_s, lease_s
        self._draw = random.SystemRandom()
        self._running: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def delivering(self, notifications: Notifications) -> AsyncIterator[None]:
        """Deliver meanwhile; attempts that are under way in the end have GRACE_S seconds."""
        try:
            async with running(self._run(notifications)):
                yield
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_S)
            for attempt in self._running:
                attempt.cancel()

    async def _run(self, notifications: Notifications) -> None:
        """For ever: Redis may go away, and come back."""
        while True:
            try:
                async with notifications.of("deliveries") as changed:
                    await self._take(changed)
            except RedisError as error:
                logger.warning("deliveries wait for Redis: %s", error)
            except Exception:
                logger.exception("deliveries pause")
            await asyncio.sleep(_PAUSE_S)

    async def _take(self, changed: asyncio.Event) -> None:
        while True:
            if len(self._running) >= DELIVERIES:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            changed.clear()
            deliveries, next_s = await self._outbox.take(DELIVERIES - len(self._running), self._lease_s)
            for delivery in deliveries:
                attempt = asyncio.create_task(self._deliver(delivery))
                self._running.add(attempt)
                attempt.add_done_callback(self._running.discard)
            if len(self._running) < DELIVERIES:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_S if next_s is None else min(next_s, _IDLE_S)):
                        await changed.wait()

    async def _deliver(self, delivery: DueDelivery) -> None:
        """One attempt, and what follows from it, in a task of its own."""
        tell_about(tenant=delivery.tenant, job=None if delivery.event.startswith("batch.") else delivery.subject)
        about: tracing.Attributes = {
            "rarebit.event": delivery.event,
            "rarebit.try": delivery.tries,
            "server.address": _host(delivery),
        }
        with tracing.span("webhook", tracing.context_of(delivery.traceparent), SpanKind.CLIENT, about) as span:
            await self._attempt(delivery, span)

    async def _attempt(self, delivery: DueDelivery, span: Span) -> None:
        begin, at = time.monotonic(), datetime.now(UTC)
        try:
            answer = await self._post(delivery, at)
        except Exception:
            logger.exception("%s, %s to %s", delivery.id, delivery.event, _host(delivery))
            answer = "the gateway could not call"
        attempt = DeliveryAttempt(at=at, duration_ms=round(1000 * (time.monotonic() - begin)), **_told(answer))
        status, wait_s = self._verdict(delivery, answer)
        if isinstance(answer, Answer):
            span.set_attribute("http.response.status_code", answer.status_code)
        if status != "delivered":
            span.set_status(StatusCode.ERROR)
        span.set_attribute("rarebit.status", status)
        logger.info("%s, %s to %s: %s, %s", delivery.id, delivery.event, _host(delivery), _told(answer), status)
        await self._log(delivery, attempt, status, wait_s)

    async def _post(self, delivery: DueDelivery, at: datetime) -> Answer | str:
        """The receiver's answer, or a sentence that says why there was none."""
        secret = self._secret_of(delivery.tenant)
        if secret is None:
            return "there is no secret to sign with"
        timestamp = delivery.time.isoformat().replace("+00:00", "Z")
        message = {"type": delivery.event, "timestamp": timestamp, "data": await self._describe(delivery)}
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Signer(secret).sign(delivery.id, at, body),
        }
        if traceparent := tracing.traceparent():
            headers["traceparent"] = traceparent
        try:
            return await self._egress.post(delivery.url, headers, body.encode(), limit_s=ATTEMPT_S)
        except _FAILURES as error:
            return str(error)[:200] or type(error).__name__

    def _verdict(self, delivery: DueDelivery, answer: Answer | str) -> tuple[DeliveryStatus, float]:
        """What becomes of the delivery, and the seconds until its next attempt."""
        code = answer.status_code if isinstance(answer, Answer) else 0
        if 200 <= code < 300:
            return "delivered", 0
        if code == 410:
            return "disabled", 0
        if delivery.tries > len(self._schedule_s):
            return "failed", 0
        pause_s = self._schedule_s[delivery.tries - 1] * (1 + JITTER * self._draw.random())
        return "pending", max(pause_s, _asked_s(answer) if isinstance(answer, Answer) else 0)

    async def _log(
        self, delivery: DueDelivery, attempt: DeliveryAttempt, status: DeliveryStatus, wait_s: float
    ) -> None:
        """Try until the lease has nearly ended: the receiver has been called, and would be once more."""
        deadline = time.monotonic() + self._lease_s - ATTEMPT_S
        while True:
            try:
                return await self._outbox.log(delivery, attempt, status, wait_s)
            except RedisError as error:
                if time.monotonic() > deadline:
                    return logger.warning(
                        "%s, %s: %s, but not in the log: %s", delivery.id, delivery.event, status, error
                    )
                await asyncio.sleep(_PAUSE_S)


def _told(answer: Answer | str) -> dict[str, Any]:
    return {"status_code": answer.status_code} if isinstance(answer, Answer) else {"error": answer}


def _host(delivery: DueDelivery) -> str:
    """All of the URL that a log may show: paths and queries hold secrets."""
    return urlsplit(delivery.url).netloc


def _asked_s(answer: Answer) -> float:
    """Seconds of Retry-After (a number or a date, RFC 9110), within bounds; 0 without one that can be read."""
    text = answer.retry_after or ""
    try:
        asked_s = float(text) if text.isdecimal() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0
    return min(max(0, asked_s), RETRY_AFTER_LIMIT_S)
