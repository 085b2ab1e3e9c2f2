"""Batches: many jobs with one request, each with a status of its own."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from copy import deepcopy
from itertools import product
from math import prod
from typing import Annotated, Any, Self

from fastapi import Path, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from api.deps import BatchGateway, Gateway, NewBatchGateway
from api.documents.resources import Batch
from api.http.routing import Router
from api.problems.errors import invalid_request, problems
from api.references import find_problems
from api.routes.jobs import IdempotencyKey, accept
from api.webhooks import BodyProblem, webhook_problems
from services.base_models import Form, WireModel
from services.jobs.accepted import AcceptedRequest
from services.jobs.request import BatchWebhook, JobRequest, refusal

MAX_JOBS = 100

router = Router(prefix="/batches", tag="batches")

BatchId = Annotated[str, Path(description="As the batch's `id` has it.")]
Fields = dict[str, Any]


class SweepAxis(WireModel):
    """The values that a field takes, one after the other."""

    field: Annotated[
        str,
        Form("^(/[a-z_]+){1,2}$", "has to be a JSON pointer to a field of a job, as /rarity/bits"),
        Field(examples=["/rarity/bits"]),
    ]
    values: list[Any] = Field(min_length=1, max_length=MAX_JOBS, examples=[[2, 5, 10]])


class BatchRequest(WireModel):
    """Jobs as `POST /jobs` takes them, 100 at most: those of `jobs`, or one for each combination of the values of a
    `sweep`, the last axis running fastest. Each has the fields of `shared` that it does not have itself."""

    jobs: list[Fields] = Field(default=[], max_length=MAX_JOBS, examples=[[{"concept": "chair"}, {"concept": "lamp"}]])
    sweep: list[SweepAxis] = Field(default=[], max_length=3, description="Without a seed, all have the same drawn one.")
    shared: Fields = Field(default={}, examples=[{"count": 4}])
    webhook: BatchWebhook | None = Field(default=None, description="Who is told when the last of the jobs has ended.")

    @model_validator(mode="after")
    def _jobs_or_sweep(self) -> Self:
        if bool(self.jobs) == bool(self.sweep):
            raise PydanticCustomError("one_of", "give exactly one of jobs and sweep, and not empty")
        if (asked := prod(len(axis.values) for axis in self.sweep)) > MAX_JOBS:
            raise refusal(("sweep",), "asks for {asked} jobs, {most} are taken at once", asked=asked, most=MAX_JOBS)
        for index, axis in enumerate(self.sweep):
            if axis.field in [other.field for other in self.sweep[:index]]:
                raise refusal(("sweep", index, "field"), "is an axis already")
        return self

    def fields(self, seed: int) -> list[Fields]:
        """Of each job; those of a sweep have `seed` unless they say otherwise."""
        if self.jobs:
            return [self.shared | fields for fields in self.jobs]
        shared = self.shared if self.shared.get("seed") is not None else self.shared | {"seed": seed}
        return [self._swept(shared, values) for values in product(*(axis.values for axis in self.sweep))]

    def _swept(self, shared: Fields, values: Sequence[Any]) -> Fields:
        fields = deepcopy(shared)
        for axis, value in zip(self.sweep, values, strict=True):
            *above, name = axis.field.split("/")[1:]
            holder = fields
            for part in above:
                if not isinstance(holder.get(part), dict):
                    holder[part] = {}
                holder = holder[part]
            holder[name] = value
        return fields


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
    requests = await _jobs(gateway, request.fields(seed=secrets.randbelow(2**32)))
    submitted = await gateway.batches.submit(
        requests,
        sweep=[axis.model_dump() for axis in request.sweep],
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
