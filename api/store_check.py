"""Whether a job's pictures will find a place, before the job is taken."""

import asyncio
import logging
import time

from services.errors import NoStorageError, StorageError
from services.objects.storage import Storage

_REMEMBERED_S = 5.0
_PATIENCE_S = 1.0  # with a store that is slow or away: it may be back before the job has ended
logger = logging.getLogger(__name__)


class StoreCheck:
    """Asks the store once in a while, however many want to know."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._begun = -_REMEMBERED_S
        self._look: asyncio.Task[NoStorageError | None] | None = None

    async def require(self) -> None:
        """Raises NoStorageError when the store takes nothing, as it was `_REMEMBERED_S` ago at most."""
        if self._look is None or time.monotonic() - self._begun > _REMEMBERED_S:
            self._begun, self._look = time.monotonic(), asyncio.create_task(self._refusal())
        if not self._look.done():
            await asyncio.wait([self._look], timeout=_PATIENCE_S)
        if self._look.done() and (refusal := self._look.result()):
            raise NoStorageError("there is no place for pictures") from refusal  # whose name is no client's business

    async def _refusal(self) -> NoStorageError | None:
        try:
            await asyncio.to_thread(self._storage.check)
        except NoStorageError as error:
            return error
        except StorageError as error:
            logger.warning("the store: %s", error)
        return None
