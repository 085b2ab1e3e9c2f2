"""What requests name: are their outputs and uploads there and of use, and may their webhooks be called?"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from fastapi.exceptions import RequestValidationError

from api.deps import Gateway
from api.pictures import KeptFound
from api.webhooks import BodyProblem, webhook_problems
from services.errors import (
    FoundNotKeptError,
    OtherConceptError,
    OtherModelError,
    UnreadableError,
    UploadExpiredError,
    UploadNotFoundError,
)
from services.jobs.record import JobRecord
from services.jobs.request import JobRequest
from services.settings import Settings
from services.texts.concepts import canonical

Location = tuple[str | int, ...]


async def check_references(gateway: Gateway, request: JobRequest, idempotency_key: str) -> None:
    """RequestValidationError names whatever is missing, unless the key has made a job, which answers then."""
    [problems] = await find_problems(gateway, [request])
    if problems and not (idempotency_key and await gateway.jobs.key_is_spent(idempotency_key)):
        raise RequestValidationError(problems)


async def find_problems(gateway: Gateway, requests: Sequence[JobRequest]) -> list[list[BodyProblem]]:
    """What each request names and is not there, is of another model, or may not be called, where it stands; each job or
    upload is read once."""
    named = [list(_references(request)) for request in requests]
    outputs = await find_outputs(gateway, _values(named, "output"))
    uploads = await _missing_uploads(gateway, _values(named, "upload"))
    absent = {output: _absent(output) for output in _values(named, "output") - outputs.keys()}
    kept = await _find_kept(gateway, _values(named, "kept"))
    gone = {found: str(FoundNotKeptError(found)) for found in _values(named, "kept") - kept.keys()}
    concepts = {output: record.request.concept for output, (record, _) in outputs.items()}
    concepts |= {found: thing.concept for found, thing in kept.items()}
    models = {request.model or gateway.settings.models[0] for request in requests} if outputs or kept else set()
    foreign = {model: await _of_another_model(gateway, model, outputs, kept) for model in models}

    def find(references: Sequence[tuple[Location, str]], request: JobRequest) -> Iterator[BodyProblem]:
        yield from model_problems(gateway.settings, request.model)
        missing = uploads | absent | gone | foreign.get(request.model or gateway.settings.models[0], {})
        yield from (problem_at(location, missing[value]) for location, value in references if value in missing)
        yield from _of_another_concept(request, concepts)
        yield from webhook_problems(gateway.settings, request.webhook)

    return [[*find(*both)] for both in zip(named, requests, strict=True)]


def model_problems(settings: Settings, model: str | None) -> Iterator[BodyProblem]:
    """What is wrong with the model that a body names."""
    if model is not None and model not in settings.models:
        yield problem_at(("model",), f"is none of {', '.join(settings.models)}: {model}")


def _of_another_concept(request: JobRequest, concepts: dict[str, str]) -> Iterator[BodyProblem]:
    """That what is to be drawn again is of another concept; `concepts` are by output and by found thing."""
    for location, value in _found(request):
        own, asked = canonical(concepts.get(value, request.concept)), canonical(request.concept)
        if own != asked:
            yield problem_at(location, str(OtherConceptError(_named(value), own, asked)))


async def find_outputs(gateway: Gateway, outputs: Iterable[str]) -> dict[str, tuple[JobRecord, int]]:
    """The job and the index that each "JOB_ID/INDEX" names; without those that are not there, or not any more."""
    named = {output: output.partition("/")[::2] for output in outputs}
    job_ids = {job_id for job_id, _ in named.values()}
    records = dict(zip(job_ids, await asyncio.gather(*map(gateway.jobs.glance, job_ids)), strict=True))
    return {
        output: (record, int(index))
        for output, (job_id, index) in named.items()
        if (record := records[job_id]) and int(index) < len(record.outputs)
    }


def no_output(location: Location, output: str) -> BodyProblem:
    """The problem of a place in the body that names an output which is not there."""
    return problem_at(location, _absent(output))


def _absent(output: str) -> str:
    return f"there is no output {output}: its job is unknown, has no such output (yet), or has expired"


def problem_at(location: Location, detail: str) -> BodyProblem:
    """What is wrong at a place in the body."""
    return {"loc": ("body", *location), "msg": detail}


async def _missing_uploads(gateway: Gateway, uploads: set[str]) -> dict[str, str]:
    """Why each of those that are not there is not."""

    async def look(upload: str) -> str | None:
        try:
            await gateway.uploads.get(upload)
        except (UploadNotFoundError, UploadExpiredError, UnreadableError) as error:
            return str(error)
        return None

    found = zip(uploads, await asyncio.gather(*map(look, uploads)), strict=True)
    return {upload: detail for upload, detail in found if detail}


async def _of_another_model(
    gateway: Gateway, wanted: str, outputs: dict[str, tuple[JobRecord, int]], kept: dict[str, KeptFound]
) -> dict[str, str]:
    """Which of them other weights made than the wanted model's; where that is not known, the worker looks."""
    served = await gateway.density_models.fingerprint(wanted)
    made = {output: record.outputs[index].model for output, (record, index) in outputs.items()}
    made |= {found: thing.model for found, thing in kept.items()}
    return {
        value: str(OtherModelError(_named(value), f"the model {model[:12]}", served))
        for value, model in made.items()
        if model and served and model != served
    }


async def _find_kept(gateway: Gateway, found: set[str]) -> dict[str, KeptFound]:
    """The found things that the tenant keeps, of these."""

    async def look(found_id: str) -> KeptFound | None:
        with suppress(FoundNotKeptError, UnreadableError):
            return await gateway.found.get(found_id)
        return None

    things = zip(found, await asyncio.gather(*map(look, found)), strict=True)
    return {found_id: thing for found_id, thing in things if thing}


def _named(value: str) -> str:
    return f"the output {value}" if "/" in value else f"the found thing {value}"


def _values(named: Iterable[Iterable[tuple[Location, str]]], kind: str) -> set[str]:
    return {value for references in named for location, value in references if location[-1] == kind}


def _found(request: JobRequest) -> Iterator[tuple[Location, str]]:
    if request.found and request.found.output:
        yield ("found", "output"), request.found.output
    if request.found and request.found.kept:
        yield ("found", "kept"), request.found.kept


def _references(request: JobRequest) -> Iterator[tuple[Location, str]]:
    """Where the request names an upload or an output, and which."""
    if request.image and request.image.upload:
        yield ("image", "upload"), request.image.upload
    yield from _found(request)
    if request.image and request.image.output:
        yield ("image", "output"), request.image.output
    for name, directions in (("avoid", request.avoid), ("toward", request.toward)):
        for index, direction in enumerate(directions):
            if direction.output and direction.weight:
                yield (name, index, "output"), direction.output
