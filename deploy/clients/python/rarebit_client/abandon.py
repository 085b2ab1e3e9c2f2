"""Give a job up on the way out, in a thread and in a task: what ends the caller is what the caller sees."""

from collections.abc import Callable, Coroutine
from contextlib import suppress

import anyio

from rarebit_client.errors import RarebitError

_PATIENCE_S = 5.0


def abandon(cancel: Callable[[str], object], job_id: str) -> None:
    """Cancel the job, if the gateway can be reached; a second Ctrl-C is faster."""
    with suppress(RarebitError):
        cancel(job_id)


async def async_abandon(cancel: Callable[[str], Coroutine[None, None, object]], job_id: str) -> None:
    """The same in a task that is itself being cancelled, in a bounded time."""
    with suppress(RarebitError), anyio.move_on_after(_PATIENCE_S, shield=True):
        await cancel(job_id)
