"""What webhooks were told of a job, and telling them again."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Path
from pydantic import BaseModel

from api.body import JsonRoute
from api.deps import CurrentGateway
from api.documents import ExpiredJobNews, JobNews
from api.errors import problems
from api.routes.jobs import JobId
from services.webhooks import Delivery, JobEvent

router = APIRouter(prefix="/jobs/{job_id}/deliveries", tags=["webhooks"], route_class=JsonRoute)

calls = APIRouter()  # what we send: the document's `webhooks`

DeliveryId = Annotated[str, Path(description="The `webhook-id` that the receiver got.")]


class JobMessage(BaseModel):
    """The body of a delivery; `type` and `timestamp` are of the event."""

    type: JobEvent
    timestamp: datetime
    data: JobNews | ExpiredJobNews


class DeliveryList(BaseModel):
    """The deliveries of a job, in the order of its events."""

    deliveries: list[Delivery]


@router.get("", responses=problems(404, 410, 503))
async def list_deliveries(job_id: JobId, gateway: CurrentGateway) -> DeliveryList:
    """Each with its attempts, for seven days after the last one, even when the job has expired meanwhile."""
    deliveries = await gateway.outbox.list(job_id)
    if not deliveries:
        await gateway.jobs.get(job_id)
    return DeliveryList(deliveries=deliveries)


@router.post("/{delivery_id}/redeliver", status_code=202, responses=problems(404, 503))
async def redeliver(job_id: JobId, delivery_id: DeliveryId, gateway: CurrentGateway) -> Delivery:
    """Send it again now, with the same `webhook-id`, and by the whole schedule until it is taken.

    This calls a receiver again that was disabled because it had answered 410.
    """
    return await gateway.outbox.redeliver(job_id, delivery_id)


@calls.post("job", status_code=204, responses={410: {"description": "No more of these to this URL, please"}})
async def job(
    body: JobMessage,
    webhook_id: Annotated[str, Header(description="The same in every attempt.")],
    webhook_timestamp: Annotated[int, Header(description="Of this attempt, in seconds since 1970.")],
    webhook_signature: Annotated[str, Header(description="By the Standard Webhooks specification: `v1,` and base64.")],
) -> None:
    """A job's webhook is called when the job starts or ends. Any 2xx takes the event; what fails comes again."""
