"""Exposure: which images a user has seen and what they thought of them."""

import asyncio
from typing import Annotated

from fastapi import Path
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from safetensors import SafetensorError, deserialize

from api.deps import CurrentGateway, Gateway
from api.documents.resources import Exposure
from api.http.routing import Router
from api.problems.errors import problems
from api.references import find_outputs, no_output, problem_at
from services.base_models import WireModel, read_one
from services.errors import UnreadableError
from services.exposure import Feedback, View
from services.jobs.record import JobRecord
from services.jobs.request import ExposureKey, OutputRef
from services.objects.keys import state_key
from services.objects.storage import Storage

router = Router(prefix="/exposures", tag="exposures")

Key = Annotated[ExposureKey, Path(description="As a job's `exposure` has it.")]


class Seen(WireModel):
    """An output that the user has seen, and what they thought of it."""

    output: OutputRef
    feedback: Annotated[Feedback, Field(strict=False)]


class Views(WireModel):
    """Outputs in the order in which they were seen; one that is in the history already is judged anew."""

    views: list[Seen] = Field(min_length=1, max_length=64)


@router.post("/{key:path}/views", responses=problems(400, 404, 413, 415, 422, 503))
async def add(key: Key, seen: Views, gateway: CurrentGateway) -> Exposure:
    """Add outputs of any finished jobs to the history, or judge them anew; all of them or none."""
    await gateway.jobs.add_views(key, await _look_up(gateway, seen.views), gateway.settings.bounds)
    return await read(key, gateway)


@router.get("/{key:path}", responses=problems(404, 422, 503))
async def read(key: Key, gateway: CurrentGateway) -> Exposure:
    """The history in numbers; empty for a key that was never used."""
    return Exposure.of(key, await gateway.jobs.views(key))


@router.delete("/{key:path}", status_code=204, responses=problems(404, 422, 503))
async def forget(key: Key, gateway: CurrentGateway) -> None:
    """Erase the history; harmless when there is none."""
    await gateway.jobs.forget(key)


async def _look_up(gateway: Gateway, seen: list[Seen]) -> list[View]:
    """The views with what the outputs' attempts learnt; RequestValidationError names those without it, or damaged."""
    views, refused = [], []
    outputs = await find_outputs(gateway, {one.output for one in seen})
    for index, one in enumerate(seen):
        found, place = outputs.get(one.output), ("views", index, "output")
        try:
            embeds = await asyncio.to_thread(_image_embeds, gateway.storage, *found) if found else None
        except UnreadableError as error:
            refused.append(problem_at(place, str(error)))
            continue
        if found and embeds:
            record, number = found
            model = record.outputs[number].model
            views.append(View.of(one.output, record.request.concept, one.feedback, embeds, model))
        else:
            refused.append(no_output(place, one.output))
    if refused:
        raise RequestValidationError(refused)
    return views


def _image_embeds(storage: Storage, record: JobRecord, index: int) -> bytes | None:
    """The output's embedding as little-endian float32; None where its attempt kept none. Raises UnreadableError."""
    key = state_key(record.id, record.attempt, index)
    return read_one("output", f"{record.id}/{index}", _embeds, storage.get(key)) if storage.exists(key) else None


def _embeds(data: bytes) -> bytes:
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]  # numpy is the worker's
    except SafetensorError as error:
        raise ValueError(error) from error
    return bytes(tensors["image_embeds"]["data"])  # float32, as it was written
