"""Jobs: submit, look, wait, list, cancel, erase."""

import asyncio
import hashlib
import re
import secrets
from contextlib import suppress
from typing import Annotated

from fastapi import Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from api.density_models import read_points
from api.deps import CurrentGateway, Gateway, PageGateway
from api.documents.resources import Job, JobBaseline, JobList
from api.events import EVENTS, follow, wait_until_final
from api.http.routing import Router
from api.problems.errors import Responses, problems
from api.references import check_references
from services.base_models import Form
from services.errors import UnreadableError
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import Found
from services.jobs.lifecycle import Submitted
from services.jobs.record import JobStatus, QueuePlace
from services.jobs.request import JobRequest
from services.objects.keys import job_prefix
from services.settings import Settings

MAX_POLL_S = 30

router = Router(prefix="/jobs", tag="jobs")

_ENDED: Responses = {200: {"model": Job, "description": "The job, which ended within the preferred wait"}}
_STOPPING: Responses = {202: {"model": Job, "description": "The job, which is asked to stop"}}
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": [*EVENTS]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"oneOf": [{"$ref": f"#/components/schemas/{data.__name__}"} for data in EVENTS.values()]},
        },
    },
    "required": ["event", "data"],
}
_STREAM: Responses = {
    200: {"description": "The events", "content": {"text/event-stream": {"schema": _EVENT}}},
    204: {"description": "The job has ended, and its last event was the one that the client has"},
}
_FIRST = "0-0"
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:\\.?|[^"\\])*+(?:"|$))+', re.DOTALL)  # a comma may stand in quotes

JobId = Annotated[str, Path(description="As the job's `id` has it.")]
Limit = Annotated[int, Query(ge=1, le=100)]
PageNumber = Annotated[str, Form("^[0-9]{1,15}$", "has to be the `next_cursor` of a page")]
Cursor = Annotated[PageNumber | None, Query(description="`next_cursor` of a page.")]
EventId = Annotated[str, Form("^[0-9]{1,19}-[0-9]{1,19}$", "has to be the `id` of an event")]
LastEventId = Annotated[EventId, Header(description="The `id` of an event.")]
# Made, not stated: "" stands for none, and is no key that a client may send.
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=255, default_factory=str)]
Prefer = Annotated[
    str,
    Header(description="`wait=N`: answer when the job has ended, or after N seconds, 50 at most.", default_factory=str),
]
Previews = Annotated[bool, Query(description="Whether to show what checks decode, at most twice a second.")]
Wait = Annotated[int, Query(ge=0, description="Seconds to wait for the job's end, 50 at most.")]


@router.post(
    "",
    status_code=202,
    response_model=Job,
    responses=_ENDED | problems(400, 404, 410, 413, 415, 422, 429, 503),
)
async def submit(
    request: JobRequest, gateway: CurrentGateway, idempotency_key: IdempotencyKey, prefer: Prefer
) -> Response:
    """Queue a job. The same idempotency key with the same body answers with the first job for 24 hours.

    What the request refers to has to be there when the job is made, not when a repeated request finds it. 410: the
    key's job has expired; 404: the job was erased while its end was waited for. Who erases a job frees its key.
    """
    submitted = await make(request, gateway, idempotency_key, request.model_dump_json())
    headers = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    if not (wait_s := min(_preferred_wait_s(prefer), gateway.settings.wait_limit_s)):
        return answer_with(submitted.found, gateway, 202, headers)
    await wait_until_final(gateway, submitted.id, wait_s)
    headers["Preference-Applied"] = f"wait={wait_s}"
    return answer_with(await gateway.jobs.get(submitted.id), gateway, 202, headers)


@router.get("/{job_id}", response_model=Job, responses=problems(404, 410, 422, 503))
async def read(job_id: JobId, gateway: CurrentGateway, wait: Wait = 0) -> Response:
    """The job; with `wait`, as soon as it has ended, or after that many seconds."""
    if wait:
        await wait_until_final(gateway, job_id, min(wait, gateway.settings.wait_limit_s))
    return answer_with(await gateway.jobs.get(job_id), gateway)


@router.get("", responses=problems(422, 503))
async def list_jobs(
    gateway: PageGateway,
    status: JobStatus | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> JobList:
    """Jobs, newest first, without their outputs' `replay`; new ones do not shift the pages after a cursor.

    Counts as one request for every 20 jobs of `limit`.
    """
    page = await gateway.jobs.list(status=status, before=None if cursor is None else int(cursor), limit=limit)
    return JobList.of(page, gateway.links)


@router.post(
    "/{job_id}/cancel",
    response_model=Job,
    responses=_STOPPING | problems(404, 410, 503),
)
async def cancel(job_id: JobId, gateway: CurrentGateway) -> Response:
    """Cancel a queued job at once; have a running one stop within a step; leave one that has ended."""
    return answer_with(await gateway.jobs.cancel(job_id), gateway, 202)


@router.get("/{job_id}/events", response_class=StreamingResponse, responses=_STREAM | problems(404, 410, 422, 503))
async def stream(
    job_id: JobId, gateway: CurrentGateway, previews: Previews = False, last_event_id: LastEventId = _FIRST
) -> Response:
    """What happens to the job, from its start or from the header `Last-Event-ID` on, until it has ended.

    `status` has `status`, with the last one `error` and `warnings`; `progress` is the job's, and in the phase
    `optimize` has `trials`, each always in the same place; `output` is an output. `preview`, an event without an id,
    has small pictures of trials; whoever comes late or is slow misses some. While the worker gives no sign for ten
    seconds and more, `progress` comes again, without an id and with `silent_s`.
    Who comes again after the end gets 204, which has an EventSource stop.
    """
    record, _ = await gateway.jobs.get(job_id)
    if record.status.final and last_event_id != _FIRST and not await gateway.jobs.events(job_id, last_event_id):
        return Response(status_code=204)
    events = follow(gateway, job_id, last_event_id, previews=previews)
    return EventSourceResponse(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # for nginx


@router.get("/{job_id}/baseline", responses=problems(404, 410, 503))
async def baseline(job_id: JobId, response: Response, gateway: CurrentGateway) -> JobBaseline:
    """Plain samples of what the job's rarity is measured against, in the coordinates of its trials.

    404 until the job has got its density, which is fitted for a concept that is new.
    """
    record, _ = await gateway.jobs.get(job_id)
    points = await asyncio.to_thread(read_points, gateway.storage, record)
    response.headers["Cache-Control"] = "private, immutable, max-age=86400"
    return JobBaseline(target_bits=round(record.request.rarity.target_bits, 3), points=points)


@router.delete("/{job_id}", status_code=204, responses=problems(404, 410, 503))
async def erase(job_id: JobId, gateway: CurrentGateway) -> None:
    """Erase the record and the outputs; a worker that runs the job finds it gone and stops.

    While the object store is away, the outputs are erased as soon as it is back.
    """
    with suppress(UnreadableError):
        await gateway.jobs.get(job_id)
    await gateway.jobs.delete(job_id)
    await gateway.erase(job_prefix(job_id))


def answer_with(
    found: Found, gateway: Gateway, pending_status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The document, with the headers and the status that its state asks for, written here: FastAPI would read it
    once more, to see whether it is what the route promises."""
    record, place = found
    job = Job.of(record, place, gateway.links)
    own = {"Location": gateway.links.to(f"/jobs/{record.id}")} | (headers or {})
    if not record.status.final:
        own["Retry-After"] = str(_look_again_s(place))
    status = 200 if record.status.final else pending_status
    return Response(job.model_dump_json(), status, own, media_type="application/json")


def _look_again_s(place: QueuePlace | None) -> int:
    """Soon for a job that runs; half-way to its start for one that waits."""
    eta = place and place.eta_seconds
    return max(1, min(MAX_POLL_S, round(eta.p50 / 2))) if eta else 1


async def make(request: JobRequest, gateway: Gateway, idempotency_key: str, named: str) -> Submitted:
    """The job of the request, or the one that its key has made; `named` is what makes a request the same one.

    Raises what `Jobs.submit` does, NoStorageError, and RequestValidationError for what the request refers to.
    """
    await gateway.store.require()
    await check_references(gateway, request, idempotency_key)
    accepted = accept(request, gateway.settings)
    return await gateway.jobs.submit(
        accepted,
        keep_s=accepted.expires_in,
        max_queued=gateway.settings.max_queued,
        idempotency_key=idempotency_key,
        body_hash=hashlib.sha256(named.encode()).hexdigest(),
    )


def accept(request: JobRequest, settings: Settings) -> AcceptedRequest:
    """What the client left open, as the service decides it."""
    seed = secrets.randbelow(2**32)
    own = {"run_limit_s": settings.run_limit_s, "keep_s": settings.output_ttl_s}
    return request.accepted(seed=seed, model=settings.models[0], **own)


def _preferred_wait_s(prefer: str) -> int:
    """Seconds of the first `wait` among the preferences (RFC 7240), of which an hour is enough; 0 without one."""
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = value.strip().strip('"').lstrip("0")
            return int(seconds[:4]) if seconds.isdecimal() else 0
    return 0
