"""What webhooks were told of a job or a batch, and telling them again."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path
from pydantic import BaseModel

from api.deps import CurrentGateway
from api.documents.webhook_data import (
    BatchNotification,
    ExpiredBatchNotification,
    ExpiredJobNotification,
    JobNotification,
)
from api.http.routing import Router
from api.problems.errors import Responses, problems
from api.routes.batches import BatchId
from api.routes.jobs import JobId
from services.jobs.accepted import JobEvent
from services.webhooks.outbox import Delivery

router = Router(tag="webhooks")

calls = APIRouter()  # what we send: the document's `webhooks`

DeliveryId = Annotated[str, Path(description="The `webhook-id` that the receiver got.")]


class JobMessage(BaseModel):
    """The body of a delivery; `type` and `timestamp` are of the event."""

    type: JobEvent
    timestamp: datetime
    data: JobNotification | ExpiredJobNotification


class BatchMessage(BaseModel):
    """The body of a delivery; `type` and `timestamp` are of the event."""

    type: Literal["batch.finished"]
    timestamp: datetime
    data: BatchNotification | ExpiredBatchNotification


class DeliveryList(BaseModel):
    """The deliveries of a job, in the order of its events, or the one of a batch."""

    deliveries: list[Delivery]


@router.get("/jobs/{job_id}/deliveries", responses=problems(404, 410, 503))
async def list_of_job(job_id: JobId, gateway: CurrentGateway) -> DeliveryList:
    """Each with its attempts, for seven days after the last one, even when the job has expired meanwhile."""
    deliveries = await gateway.outbox.list(job_id)
    if not deliveries:
        await gateway.jobs.get(job_id)
    return DeliveryList(deliveries=deliveries)


@router.get("/batches/{batch_id}/deliveries", responses=problems(404, 503))
async def list_of_batch(batch_id: BatchId, gateway: CurrentGateway) -> DeliveryList:
    """The one delivery with its attempts, for seven days after the last one."""
    deliveries = await gateway.outbox.list(batch_id)
    if not deliveries:
        await gateway.batches.get(batch_id)
    return DeliveryList(deliveries=deliveries)


@router.post("/jobs/{job_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=problems(404, 503))
async def redeliver_of_job(job_id: JobId, delivery_id: DeliveryId, gateway: CurrentGateway) -> Delivery:
    """Send it again now, with the same `webhook-id`, and by the whole schedule until it is taken.

    This calls a receiver again that was disabled because it had answered 410.
    """
    return await gateway.outbox.redeliver(job_id, delivery_id)


@router.post("/batches/{batch_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=problems(404, 503))
async def redeliver_of_batch(batch_id: BatchId, delivery_id: DeliveryId, gateway: CurrentGateway) -> Delivery:
    """Send it again now, as a job's."""
    return await gateway.outbox.redeliver(batch_id, delivery_id)


WebhookId = Annotated[str, Header(description="The same in every attempt.")]
Timestamp = Annotated[int, Header(description="Of this attempt, in seconds since 1970.")]
Signature = Annotated[str, Header(description="By the Standard Webhooks specification: `v1,` and base64.")]
_TAKEN: Responses = {410: {"description": "No more of these to this URL, please"}}


@calls.post("job", status_code=204, responses=_TAKEN)
async def job(
    body: JobMessage, webhook_id: WebhookId, webhook_timestamp: Timestamp, webhook_signature: Signature
) -> None:
    """A job's webhook is called when the job starts or ends. Any 2xx takes the event; what fails comes again."""


@calls.post("batch", status_code=204, responses=_TAKEN)
async def batch(
    body: BatchMessage, webhook_id: WebhookId, webhook_timestamp: Timestamp, webhook_signature: Signature
) -> None:
    """A batch's webhook is called when the last of its jobs has ended."""
