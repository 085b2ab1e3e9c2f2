"""A job as it goes on: waiting for its end, and its events as a stream (server-sent events, WHATWG HTML)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi.sse import format_sse_event
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.deps import Gateway
from api.documents.resources import Output, StatusChange, pictures_of
from services.errors import JobExpiredError, JobNotFoundError, UnreadableError
from services.jobs.answers import Event
from services.jobs.record import JobRecord, JobStatus, Preview, Progress, WatchedProgress

EVENTS: dict[str, type[BaseModel]] = {
    "status": StatusChange,
    "progress": WatchedProgress,
    "preview": Preview,
    "output": Output,
}
KEEP_ALIVE_S = 15.0
LOOK_S = 5.0  # between two looks at a job that runs, of whose worker's death nobody tells
ASK_S = 2 * KEEP_ALIVE_S  # that previews are made for a reader that has left


async def wait_until_final(gateway: Gateway, job_id: str, timeout_s: float) -> None:
    """Return when the job has reached a final state or is erased, or after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    with gateway.metrics.long_polls.track_inprogress():
        async with gateway.notifications.of(job_id) as changed:
            while not (await gateway.jobs.get(job_id))[0].status.final:
                if not await _woken(changed, deadline - time.monotonic()):
                    return


async def follow(gateway: Gateway, job_id: str, after: str, *, previews: bool = False) -> AsyncIterator[bytes]:
    """The events after the one with the id `after`, as they come, until the job has ended; comments keep it alive.

    Previews have no id, so that nobody resumes from one: a slow reader sees the newest, and misses others. Nor has
    progress that says no more than that the worker is silent.
    Ends early when the job is erased or Redis is away: who comes again with the last id misses nothing.
    """
    ended, seen = False, ""
    over = suppress(JobNotFoundError, JobExpiredError, UnreadableError, RedisError)
    with gateway.metrics.streams.track_inprogress(), over:
        async with gateway.notifications.of(job_id) as changed:
            while True:
                events = await gateway.jobs.events(job_id, after)
                record, _ = await gateway.jobs.get(job_id)
                for event in events:
                    after = event.id
                    yield _written(gateway, record, event)
                if previews and (preview := await gateway.jobs.preview(job_id, seen, ask_s=ASK_S)):
                    seen, data = preview
                    yield format_sse_event(event="preview", data_str=data)
                if not events and record.progress and record.progress.silent_s is not None:
                    yield _silence(record.progress)
                if ended and not events:
                    return
                ended = record.status.final
                patience_s = KEEP_ALIVE_S if record.status is JobStatus.QUEUED else LOOK_S
                if not ended and not events and not await _woken(changed, patience_s):
                    yield format_sse_event(comment="")


async def _woken(changed: asyncio.Event, timeout_s: float) -> bool:
    """Whether the job has changed, which is taken for seen from now on."""
    try:
        await asyncio.wait_for(changed.wait(), timeout_s)
    except TimeoutError:
        return False
    changed.clear()
    return True


def _silence(progress: Progress) -> bytes:
    """Where the run stands, with how long the worker has been silent: no event, so without an id."""
    data = WatchedProgress(**progress.model_dump()).model_dump_json()
    return format_sse_event(event="progress", data_str=data)


def _written(gateway: Gateway, record: JobRecord, event: Event) -> bytes:
    """The event on the wire; an output gets its URL when it is sent."""
    data = event.data
    if event.kind == "output":
        outputs = pictures_of(Output, record, gateway.links)
        data = outputs[json.loads(data)["index"]].model_dump_json()
    if event.kind == "status":
        data = StatusChange.of(record, JobStatus(json.loads(data)["status"])).model_dump_json()
    return format_sse_event(event=event.kind, id=event.id, data_str=data)
