"""What the gateway does with jobs: submit, read, list, cancel, erase, and a user's history."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from services.durability import require_durable
from services.errors import IdempotencyConflictError, JobExpiredError, JobNotFoundError, QueueFullError
from services.exposure import View
from services.records import Event, Page, pairs, read_page, read_view
from services.schemas import JobRecord, JobRequest, JobStatus, QueuePlace
from services.store import SLOT, History, name_of, read_history, script, write_views

IDEMPOTENCY_MS = 24 * 3600 * 1000
CALLS = 50  # at once: half of the connections that redis-py's pool has, which others share


@dataclass(frozen=True)
class Submitted:
    """The job that answers a submission; `replayed` when its idempotency key had named it before."""

    id: str
    replayed: bool


class Jobs:
    """What the gateway does with jobs. Every method raises redis-py's errors while Redis is away."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._script = client.register_script(script())
        self._calls = asyncio.Semaphore(CALLS)

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        async with self._calls:
            return await self._script(keys=[SLOT], args=[operation, *arguments])

    async def check(self) -> None:
        """Return when Redis answers; StoreUnsafeError when it is set up to lose jobs."""
        require_durable(await self._client.info())

    async def submit(
        self,
        request: JobRequest,
        *,
        keep_s: int,
        max_queued: int,
        idempotency_key: str = "",
        body_hash: str = "",
    ) -> Submitted:
        """Record the job, queue it and spend the key, or do none of it.

        Raises QueueFullError, and IdempotencyConflictError for a key that was spent on another body.
        """
        new = uuid.uuid4().hex
        arguments = (request.model_dump_json(), keep_s * 1000, max_queued, idempotency_key, body_hash, IDEMPOTENCY_MS)
        verdict, job_id = await self._call("submit", new, *arguments)
        if verdict == "full":
            raise QueueFullError(f"{max_queued} jobs are waiting, no more are taken; try again later")
        if verdict == "conflict":
            raise IdempotencyConflictError("the idempotency key was used before with another body")
        return Submitted(job_id, replayed=verdict == "replayed")

    async def key_is_spent(self, idempotency_key: str) -> bool:
        """Whether a submission with this key has made a job."""
        return bool(await self._call("key_is_spent", idempotency_key))

    async def get(self, job_id: str) -> tuple[JobRecord, QueuePlace | None]:
        """The record, and the place in the queue while it waits. Raises JobNotFoundError or JobExpiredError."""
        view = await self._call("get", job_id)
        if not isinstance(view, list):
            raise _absent(job_id, gone=bool(view))
        record, place = read_view(view)
        if record.expired:
            raise _absent(job_id, gone=True)
        return record, place

    async def list(self, *, status: JobStatus | None, before: int | None, limit: int) -> Page:
        """Up to `limit` jobs, newest first, from the cursor `before`; with the next cursor, if there are more."""
        chosen = f"status:{status}" if status else "jobs"
        return read_page(await self._call("list", chosen, "+inf" if before is None else before, limit + 1), limit)

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancel a queued job, ask a running one to stop, leave a final one. Raises JobNotFoundError."""
        status = await self._call("cancel", job_id)
        if status is None:
            raise _absent(job_id, gone=False)
        return JobStatus(status)

    async def delete(self, job_id: str, *, sweep_after_s: int) -> None:
        """Forget the record; whoever runs the job finds its next write refused, and what it stored is `due` later."""
        await self._call("delete", job_id, sweep_after_s * 1000)

    async def views(self, exposure: str) -> History:
        """The history of the exposure key, in the order of being seen; empty for a key that was never used."""
        return read_history(await self._call("history", name_of(exposure)))

    async def add_views(self, exposure: str, views: Sequence[View]) -> None:
        """Add to the history, or judge anew what is in it: an output counts once and keeps its place."""
        await self._call("see", name_of(exposure), write_views(views))

    async def forget(self, exposure: str) -> None:
        """Erase the history of the exposure key."""
        await self._call("forget", name_of(exposure))

    async def events(self, job_id: str, after: str) -> Sequence[Event]:
        """Some of what happened after the event with the id `after` ("0-0": from the first), the oldest first."""
        found = await self._call("events", job_id, after)
        return [Event(event_id, **pairs(flat)) for event_id, flat in found]


def _absent(job_id: str, *, gone: bool) -> JobNotFoundError | JobExpiredError:
    if gone:
        return JobExpiredError(f"job {job_id} has expired, its outputs are erased")
    return JobNotFoundError(f"there is no job {job_id}")
