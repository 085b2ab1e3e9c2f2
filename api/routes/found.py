"""Found things: keep one beyond its job, list, take it out as a file, and in again."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, Field, ValidationError

from api.deps import CurrentGateway, Gateway
from api.documents.resources import FoundList, FoundThing
from api.http.body import check_media_type
from api.http.routing import FILE, Router
from api.pictures import KeptFound
from api.problems.errors import problems
from api.references import find_outputs, no_output
from services.base_models import WireModel
from services.errors import PictureError, StorageError
from services.found import FoundFacts, read_facts
from services.jobs.request import JobRequest, OutputRef, seen
from services.objects.keys import found_key, found_picture_key, found_prefix, state_key
from services.pictures.files import carried, carrying
from services.pictures.pixels import normalize

PATH = "/found"
FILES = "/found-files"  # beside them: no id is "files"

router = Router(tag="found")

_TAKEN = ("image/png", "application/octet-stream")
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": dict.fromkeys(_TAKEN, FILE)}}

FoundId = Annotated[str, Path(description="As the found thing's `id` has it.")]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(seen)]


class Keep(WireModel):
    """An output to keep, and how to call it."""

    output: OutputRef
    name: Name


@router.post(PATH, status_code=201, responses=problems(400, 409, 413, 415, 422, 503))
async def keep(asked: Keep, response: Response, gateway: CurrentGateway) -> FoundThing:
    """Keep what an output's trial has learnt, and its picture, until it is erased, also beyond the job's end."""
    found = await find_outputs(gateway, [asked.output])
    if asked.output not in found:
        raise RequestValidationError([no_output(("output",), asked.output)])
    record, index = found[asked.output]
    read = gateway.storage.get
    learnt = await asyncio.to_thread(read, state_key(record.id, record.attempt, index))
    picture = await asyncio.to_thread(read, record.outputs[index].key)
    return await _store(gateway, response, asked.name, picture, learnt)


@router.post(FILES, status_code=201, openapi_extra=_BODY, responses=problems(409, 413, 415, 422, 503))
async def take_in(
    request: Request, response: Response, gateway: CurrentGateway, name: Annotated[Name, Query()]
) -> FoundThing:
    """Keep what was found elsewhere: a file that `download_url` gave."""
    check_media_type(request, *_TAKEN)
    return await _store(gateway, response, name, await request.body())


@router.get(PATH, responses=problems(503))
async def index(gateway: CurrentGateway) -> FoundList:
    """All that is kept, the newest first."""
    return FoundList(found=[FoundThing.of(found, gateway.links) for found in await gateway.found.list()])


@router.get(PATH + "/{found_id}", responses=problems(404, 503))
async def read(found_id: FoundId, gateway: CurrentGateway) -> FoundThing:
    """One of them."""
    return FoundThing.of(await gateway.found.get(found_id), gateway.links)


@router.delete(PATH + "/{found_id}", status_code=204, responses=problems(404, 503))
async def erase(found_id: FoundId, gateway: CurrentGateway) -> None:
    """Erase it; a job that has not drawn it yet will fail."""
    await gateway.found.get(found_id)
    await gateway.found.drop(found_id)
    await gateway.erase(found_prefix(found_id))


async def _store(
    gateway: Gateway, response: Response, name: str, picture: bytes, learnt: bytes | None = None
) -> FoundThing:
    """Keep the picture with what led to it, which it carries unless that is given. Raises PictureError."""
    loop = asyncio.get_running_loop()
    kept, objects = await loop.run_in_executor(gateway.decoders, _read, name, picture, learnt)
    await gateway.found.keep(kept)
    try:
        for key, data in objects.items():
            await asyncio.to_thread(gateway.storage.put, key, data, "image/png")
    except StorageError:
        await gateway.found.drop(kept.id)
        raise
    response.headers["Location"] = gateway.links.to(f"{PATH}/{kept.id}")
    return FoundThing.of(kept, gateway.links)


def _read(name: str, picture: bytes, learnt: bytes | None) -> tuple[KeptFound, dict[str, bytes]]:
    """The record and the objects, by their keys."""
    if learnt is None and (learnt := carried(picture)) is None:
        raise PictureError("the picture carries nothing that was found: it has to be a file of a found thing")
    facts = _facts(learnt)
    png, size = normalize(picture)
    kept = _describe(name, facts, size)
    return kept, {found_picture_key(kept.id): png, found_key(kept.id): carrying(png, learnt)}


def _facts(learnt: bytes) -> FoundFacts:
    """Raises PictureError for what is damaged, or was written before there were any."""
    try:
        facts = read_facts(learnt)
        JobRequest(concept=facts.concept, prompt=facts.prompt)  # or no job could draw it
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise PictureError(f"what led to the picture cannot be read: {reason}") from error
    except ValueError as error:
        raise PictureError(f"what led to the picture cannot be read: {error}") from error
    return facts


def _describe(name: str, facts: FoundFacts, size: tuple[int, int]) -> KeptFound:
    width, height = size
    return KeptFound(
        id=uuid.uuid4().hex,
        name=name,
        created_at=datetime.now(UTC),
        width=width,
        height=height,
        **facts.model_dump(include={"concept", "prompt", "model", "bits", "validity"}),
    )
