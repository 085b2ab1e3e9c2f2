"""The webhook outbox in Redis (`lua/outbox.lua`): deliveries that are due, for whichever gateway comes first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from services.base_models import StoredModel, read_each
from services.errors import DeliveryNotFoundError
from services.jobs.answers import pairs, time_of
from services.jobs.pipeline import Tenanted

DeliveryStatus = Literal["pending", "delivered", "failed", "disabled"]


class DeliveryAttempt(StoredModel):
    """One call of the receiver: the status that it answered with, or why there was none."""

    at: datetime
    status_code: int | None = None
    error: str | None = None
    duration_ms: int


class Delivery(StoredModel):
    """An event on its way: `id` is the webhook-id of all its attempts, of which the log has the last 20."""

    id: str
    event: str
    status: DeliveryStatus
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: list[DeliveryAttempt]


@dataclass(frozen=True)
class DueDelivery:
    """A delivery that this process has under its lease: `event` of the `subject`, a job's or a batch's id, at `time`.

    `attempt` fences what is logged; `tries` counts from 1, and anew after a redelivery.
    """

    id: str
    subject: str
    tenant: str
    event: str
    url: str
    time: datetime
    attempt: int
    tries: int
    traceparent: str = ""


_DUE = TypeAdapter(DueDelivery)


class Outbox(Tenanted):
    """What gateways do with deliveries; every method raises redis-py's errors while Redis is away.

    Taking and logging are for those of all tenants, the rest for one's own.
    """

    async def take(self, limit: int, lease_s: float) -> tuple[list[DueDelivery], float | None]:
        """Lease up to `limit` deliveries whose time has come; and the seconds until the next one's, if there is one."""
        taken, next_ms = await self._call("take_deliveries", limit, int(lease_s * 1000))
        deliveries = read_each("a delivery that is due", _due_delivery, map(pairs, taken))
        return deliveries, None if next_ms is None else next_ms / 1000

    async def log(
        self, delivery: DueDelivery, attempt: DeliveryAttempt, status: DeliveryStatus, wait_s: float = 0
    ) -> None:
        """Log the attempt; the delivery ends as `status`, or waits so long for the next one while it is pending."""
        arguments = (delivery.id, delivery.attempt, attempt.model_dump_json(), status, int(wait_s * 1000))
        await self._call("log_delivery", *arguments)

    async def list(self, subject: str) -> list[Delivery]:
        """The deliveries of a job or a batch, in the order of its events; none once they are no longer kept."""
        return read_each(f"a delivery of {subject}", _delivery, await self._call("deliveries", subject))

    async def redeliver(self, subject: str, delivery_id: str) -> Delivery:
        """Have the delivery sent again, at once and by the whole schedule. Raises DeliveryNotFoundError."""
        seen = await self._call("redeliver", subject, delivery_id)
        if seen is None:
            raise DeliveryNotFoundError(f"{subject} has no delivery {delivery_id}, or not any more")
        return _delivery(seen)


def _due_delivery(fields: dict[str, str]) -> DueDelivery:
    return _DUE.validate_python(fields | {"time": time_of(fields["created_at"])})


def _delivery(seen: Any) -> Delivery:
    flat, due_ms, log = seen
    fields = pairs(flat)
    return Delivery.model_validate(
        {name: fields[name] for name in ("id", "event", "status")}
        | {"created_at": time_of(fields["created_at"]), "next_attempt_at": None if due_ms is None else time_of(due_ms)}
        | {"attempts": read_each(f"an attempt of {fields['id']}", DeliveryAttempt.model_validate_json, log)}
    )
