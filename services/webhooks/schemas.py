"""Webhooks in what crosses processes and the wire: who is to be told of what, and how telling them went."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AnyHttpUrl, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from services.stored import Stored
from services.strict import Strict

URL_LIMIT = 2048
JobEvent = Literal["job.started", "job.succeeded", "job.failed", "job.canceled"]
DeliveryStatus = Literal["pending", "delivered", "failed", "disabled"]
_URL = TypeAdapter(AnyHttpUrl)
_ENDINGS: list[JobEvent] = ["job.succeeded", "job.failed", "job.canceled"]


def _plain_url(text: str) -> str:
    """The URL as the WHATWG writes it (127.1 becomes 127.0.0.1), without anything that is not for the receiver."""
    try:
        url = _URL.validate_python(text)
    except ValidationError as error:
        raise PydanticCustomError("webhook_url", "is no http(s) URL") from error
    if url.username or url.password:
        raise PydanticCustomError("webhook_url", "has credentials in it: deliveries are signed instead")
    if url.fragment is not None:
        raise PydanticCustomError("webhook_url", "has a fragment, which is never sent")
    if len(str(url)) > URL_LIMIT:
        raise PydanticCustomError("webhook_url", "is longer than 2048 characters, once it is percent-encoded")
    return str(url)


WebhookUrl = Annotated[
    str,
    Field(max_length=URL_LIMIT, json_schema_extra={"format": "uri"}, examples=["https://design.example/hooks/rarebit"]),
    AfterValidator(_plain_url),
]


class Webhook(Strict):
    """Who is told of what, by the Standard Webhooks specification."""

    url: WebhookUrl
    events: list[JobEvent] = Field(default=_ENDINGS, min_length=1, max_length=8)


class BatchWebhook(Strict):
    """Who is told, once, that the last job of a batch has ended."""

    url: WebhookUrl


class Attempt(Stored):
    """One call of the receiver: the status that it answered with, or why there was none."""

    at: datetime
    status_code: int | None = None
    error: str | None = None
    duration_ms: int


class Delivery(Stored):
    """An event on its way: `id` is the webhook-id of all its attempts, of which the log has the last 20."""

    id: str
    event: str
    status: DeliveryStatus
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: list[Attempt]
