"""What the gateway does with jobs: submit, read, list, cancel, erase, and a user's history."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from opentelemetry.trace import SpanKind

from services import tracing
from services.bounds import DEFAULTS, Bounds
from services.errors import JobExpiredError, JobNotFoundError, UnreadableError
from services.exposure import View
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import (
    IDEMPOTENCY_MS,
    Event,
    Found,
    Page,
    Recorded,
    Stats,
    pairs,
    read_place,
    refuse,
    time_of,
)
from services.jobs.record import JobRecord, JobStatus
from services.jobs.store import Views, name_of, read_views, require_durable, write_views


@dataclass(frozen=True)
class Submitted:
    """The job that answers a submission; `replayed` when its idempotency key had named it before."""

    found: Found
    replayed: bool

    @property
    def id(self) -> str:
        return self.found[0].id


class Jobs(Recorded):
    """What the gateway does with a tenant's jobs. Every method raises redis-py's errors while Redis is away."""

    async def check(self) -> None:
        """Return when Redis answers; StoreUnsafeError when it is set up to lose jobs."""
        require_durable(await self._client.info())

    async def submit(
        self,
        request: AcceptedRequest,
        *,
        keep_s: int,
        max_queued: int,
        idempotency_key: str = "",
        body_hash: str = "",
    ) -> Submitted:
        """Record the job, queue it and spend the key, or do none of it.

        Raises QueueFullError, IdempotencyConflictError for a key that was spent on another body, and, for one that
        was spent on a job that is no more, JobExpiredError or JobNotFoundError.
        """
        new = uuid.uuid4().hex
        arguments = (request.model_dump_json(), keep_s * 1000, max_queued, idempotency_key, body_hash, IDEMPOTENCY_MS)
        about = {"rarebit.job.id": new, "rarebit.tenant": self._tenant}
        with tracing.span("submit", kind=SpanKind.PRODUCER, attributes=about):
            verdict, *answer = await self._call("submit", new, *arguments, tracing.traceparent())
        refuse(verdict, answer, max_queued)
        if verdict == "replayed":
            return Submitted(await self._found("of this idempotency key", answer[0]), replayed=True)
        created_at = time_of(answer[0])
        record = JobRecord(
            id=new,
            status=JobStatus.QUEUED,
            attempt=0,
            request=request,
            created_at=created_at,
            expires_at=created_at + timedelta(seconds=keep_s),
        )
        return Submitted((record, read_place(answer[1:])), replayed=False)

    async def key_is_spent(self, idempotency_key: str) -> bool:
        """Whether a submission with this key has made a job."""
        return bool(await self._call("key_is_spent", idempotency_key))

    async def get(self, job_id: str) -> Found:
        """The record, and the place in the queue while it waits.

        Raises JobNotFoundError, JobExpiredError or UnreadableError.
        """
        return await self._found(job_id, await self._call("get", job_id))

    async def glance(self, job_id: str) -> JobRecord | None:
        """The record as pages have it; None for one that is unknown, has expired or cannot be read."""
        try:
            record, _ = await self._found(job_id, await self._call("glance", job_id))
        except (JobNotFoundError, JobExpiredError, UnreadableError):
            return None
        return record

    async def list(self, *, status: JobStatus | None, before: int | None, limit: int) -> Page:
        """Up to `limit` jobs, newest first, from the cursor `before`; their outputs have no whole `replay`."""
        cursor = "+inf" if before is None else before
        return await self._read_page(await self._call("list", status or "", cursor, limit))

    async def cancel(self, job_id: str) -> Found:
        """Cancel a queued job, ask a running one to stop, leave a final one; answers and raises as `get` does."""
        return await self._found(job_id, await self._call("cancel", job_id))

    async def delete(self, job_id: str) -> None:
        """Forget the record, and have all below its prefix erased, also what a worker is storing just now.

        Whoever runs the job finds its next write refused.
        """
        await self._call("delete", job_id)

    async def stats(self) -> Stats:
        """The store in figures, of all tenants."""
        return Stats.read(await self._call("stats"))

    async def views(self, exposure: str) -> Views:
        """The history of the exposure key, in the order of being seen; empty for a key that was never used."""
        return read_views(await self._call("history", name_of(self._tenant, exposure)))

    async def add_views(self, exposure: str, views: Sequence[View], bounds: Bounds = DEFAULTS) -> None:
        """Add to the history, or judge anew what is in it: an output counts once and keeps its place."""
        await self._call("see", *write_views(self._tenant, exposure, views, bounds))

    async def forget(self, exposure: str) -> None:
        """Erase the history of the exposure key."""
        await self._call("forget", name_of(self._tenant, exposure))

    async def events(self, job_id: str, after: str) -> Sequence[Event]:
        """Some of what happened after the event with the id `after` ("0-0": from the first), the oldest first."""
        found = await self._call("events", job_id, after)
        written = [(event_id, pairs(flat)) for event_id, flat in found]
        return [Event(event_id, fields["kind"], fields["data"]) for event_id, fields in written]

    async def preview(self, job_id: str, seen: str, *, ask_s: float) -> tuple[str, str] | None:
        """Ask for previews for `ask_s` seconds more; the newest, with what names it, unless that one was `seen`."""
        found = await self._call("preview", job_id, seen, int(1000 * ask_s))
        return None if found is None else (found[0], found[1])

    async def _found(self, job_id: str, view: Any) -> Found:
        """What `get` in views.lua answered. Raises JobNotFoundError, JobExpiredError or UnreadableError."""
        record, place = await self._read_one(view) if isinstance(view, list) else (None, None)
        if record is not None and not record.expired:
            return record, place
        if record is not None or view:
            raise JobExpiredError(f"job {job_id} has expired, its outputs are erased")
        raise JobNotFoundError(f"there is no job {job_id}")
