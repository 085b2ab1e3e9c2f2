"""Jobs that two workers died with, or that cannot be read: in view until they are replayed or erased, or expire."""

import uuid

from opentelemetry.trace import SpanKind

from services import tracing
from services.errors import NotQuarantinedError
from services.jobs.answers import Found, Page, Recorded, refuse


class Quarantine(Recorded):
    """What operators do with such jobs; every method raises redis-py's errors while Redis is away."""

    async def list(self, *, before: int | None, limit: int) -> Page:
        """Up to `limit` of the jobs, newest first, from the cursor `before`; with the next cursor, if any."""
        cursor = "+inf" if before is None else before
        return await self._read_page(await self._call("quarantined", cursor, limit))

    async def replay(self, job_id: str, *, max_queued: int) -> Found:
        """Queue a new job of the same request, seed and all, and answer with it; the old one leaves the quarantine.

        Raises NotQuarantinedError, as a second replay of the job does, and QueueFullError.
        """
        new = uuid.uuid4().hex
        with tracing.span("submit", kind=SpanKind.PRODUCER, attributes={"rarebit.job.id": new}):
            verdict, *answer = await self._call("replay", job_id, new, max_queued, tracing.traceparent())
        if verdict == "absent":
            raise NotQuarantinedError(f"there is no job {job_id} in quarantine")
        refuse(verdict, answer, max_queued)
        return await self._read_one(answer[0])
