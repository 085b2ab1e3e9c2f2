"""Batches: many jobs with one request, each with a status of its own."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from api.deps import BatchGateway, Gateway, NewBatchGateway
from api.documents.resources import Batch
from api.http.routing import Router
from api.problems.errors import invalid_request, problems
from api.references import find_problems
from api.routes.jobs import IdempotencyKey, accept
from api.webhooks import BodyProblem, webhook_problems
from services.base_models import WireModel
from services.jobs.accepted import AcceptedRequest
from services.jobs.request import BatchWebhook, JobRequest

MAX_JOBS = 100

router = Router(prefix="/batches", tag="batches")

BatchId = Annotated[str, Path(description="As the batch's `id` has it.")]
Fields = dict[str, Any]


class BatchRequest(WireModel):
    """Jobs as `POST /jobs` takes them, 100 at most; each has the fields of `shared` that it does not have itself."""

    jobs: list[Fields] = Field(
        min_length=1, max_length=MAX_JOBS, examples=[[{"concept": "chair"}, {"concept": "lamp"}]]
    )
    shared: Fields = Field(default={}, examples=[{"count": 4}])
    webhook: BatchWebhook | None = Field(default=None, description="Who is told when the last of the jobs has ended.")


@router.post("", status_code=202, responses=problems(400, 404, 413, 415, 422, 503))
async def submit(
    request: BatchRequest, response: Response, gateway: NewBatchGateway, idempotency_key: IdempotencyKey
) -> Batch:
    """Queue many jobs at once. Each is taken, or refused with the problem that it would have had on its own.

    Counts as one request for each of the jobs.
    """
    await gateway.store.require()
    if found := list(webhook_problems(gateway.settings, request.webhook)):
        raise RequestValidationError(found)
    requests = await _jobs(gateway, [request.shared | fields for fields in request.jobs])
    submitted = await gateway.batches.submit(
        requests,
        webhook=request.webhook,
        keep_s=gateway.settings.output_ttl_s,
        max_queued=gateway.settings.max_queued,
        idempotency_key=idempotency_key,
        body_hash=hashlib.sha256(json.dumps(request.model_dump(), sort_keys=True).encode()).hexdigest(),
    )
    if submitted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = gateway.links.to(f"/batches/{submitted.batch.id}")
    return Batch.of(submitted.batch, gateway.links)


@router.get("/{batch_id}", responses=problems(404, 503))
async def read(batch_id: BatchId, gateway: BatchGateway) -> Batch:
    """The batch and its jobs as they are now, without their outputs' `replay`; it is kept as long as the last of them.

    Counts as five requests.
    """
    return Batch.of(await gateway.batches.get(batch_id), gateway.links)


@router.post("/{batch_id}/cancel", responses=problems(404, 503))
async def cancel(batch_id: BatchId, gateway: BatchGateway) -> Batch:
    """Cancel every job of the batch that has not ended. Counts as five requests."""
    return Batch.of(await gateway.batches.cancel(batch_id), gateway.links)


async def _jobs(gateway: Gateway, asked: Sequence[Fields]) -> list[AcceptedRequest | Fields]:
    """Each request as it is accepted, or the problem that it has."""
    read = [_read(fields) for fields in asked]
    requests = [one for one in read if isinstance(one, JobRequest)]
    found = iter(await find_problems(gateway, requests))

    def answer(one: JobRequest | list[BodyProblem]) -> AcceptedRequest | Fields:
        if isinstance(one, JobRequest) and not (problems := next(found)):
            return accept(one, gateway.settings)
        return invalid_request(problems if isinstance(one, JobRequest) else one).model_dump()

    return [answer(one) for one in read]


def _read(fields: Fields) -> JobRequest | list[BodyProblem]:
    try:
        return JobRequest.model_validate(fields)
    except ValidationError as error:
        return [dict(one) | {"loc": ("body", *one["loc"])} for one in error.errors()]
