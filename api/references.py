"""What a request names: are its outputs and uploads there, and may its webhook be called?"""

from collections.abc import Iterator

from fastapi.exceptions import RequestValidationError

from api.deps import Gateway
from api.webhooks import BodyProblem, webhook_problems
from services.errors import JobExpiredError, JobNotFoundError, UploadExpiredError, UploadNotFoundError
from services.job_request import JobRequest
from services.schemas import JobRecord

Location = tuple[str | int, ...]


async def check_references(gateway: Gateway, request: JobRequest, idempotency_key: str) -> None:
    """RequestValidationError names whatever is missing, unless the key has made a job, which answers then."""
    problems = await find_problems(gateway, request)
    if problems and not (idempotency_key and await gateway.jobs.key_is_spent(idempotency_key)):
        raise RequestValidationError(problems)


async def find_problems(gateway: Gateway, request: JobRequest) -> list[BodyProblem]:
    """What the request names and is not there, or may not be called, each where it stands."""
    looked_up = [await _problem(gateway, location, value) for location, value in _references(request)]
    return [problem for problem in looked_up if problem] + list(webhook_problems(gateway.settings, request.webhook))


async def find_output(gateway: Gateway, output: str) -> tuple[JobRecord, int] | None:
    """The job and the index that "JOB_ID/INDEX" names; None when there is no such output, or not any more."""
    job_id, _, index = output.partition("/")
    try:
        record, _ = await gateway.jobs.get(job_id)
    except (JobNotFoundError, JobExpiredError):
        return None
    return (record, int(index)) if int(index) < len(record.outputs) else None


def no_output(location: Location, output: str) -> BodyProblem:
    """The problem of a place in the body that names an output which is not there."""
    detail = f"there is no output {output}: its job is unknown, has no such output (yet), or has expired"
    return {"loc": ("body", *location), "msg": detail}


async def _problem(gateway: Gateway, location: Location, value: str) -> BodyProblem | None:
    if location[-1] == "output":
        return None if await find_output(gateway, value) else no_output(location, value)
    try:
        await gateway.uploads.get(value)
    except (UploadNotFoundError, UploadExpiredError) as error:
        return {"loc": ("body", *location), "msg": str(error)}
    return None


def _references(request: JobRequest) -> Iterator[tuple[Location, str]]:
    """Where the request names an upload or an output, and which."""
    if request.image and request.image.upload:
        yield ("image", "upload"), request.image.upload
    if request.image and request.image.output:
        yield ("image", "output"), request.image.output
    for name, directions in (("avoid", request.avoid), ("toward", request.toward)):
        for index, direction in enumerate(directions):
            if direction.output:
                yield (name, index, "output"), direction.output
