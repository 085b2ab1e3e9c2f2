"""Jobs that two workers died with: failed, and kept in view until somebody replays or erases them, or they expire."""

import uuid
from typing import Any

import redis.asyncio

from services.errors import NotQuarantinedError, QueueFullError
from services.records import Page, read_page
from services.store import SLOT, script


class Quarantine:
    """What operators do with such jobs; every method raises redis-py's errors while Redis is away."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._script = client.register_script(script())

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        return await self._script(keys=[SLOT], args=[operation, *arguments])

    async def list(self, *, before: int | None, limit: int) -> Page:
        """Up to `limit` of the jobs, newest first, from the cursor `before`; with the next cursor, if any."""
        arguments = ("quarantine", "+inf" if before is None else before, limit + 1)
        return read_page(await self._call("list", *arguments), limit)

    async def replay(self, job_id: str, *, max_queued: int) -> str:
        """Queue a new job of the same request, seed and all; the old one leaves the quarantine. Answers the new id.

        Raises NotQuarantinedError, as a second replay of the job does, and QueueFullError.
        """
        verdict, new = await self._call("replay", job_id, uuid.uuid4().hex, max_queued)
        if verdict == "absent":
            raise NotQuarantinedError(f"there is no job {job_id} in quarantine")
        if verdict == "full":
            raise QueueFullError(f"{max_queued} jobs are waiting, no more are taken; try again later")
        return str(new)
