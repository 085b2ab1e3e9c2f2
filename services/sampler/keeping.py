"""What loading a checkpoint has found out once, kept in the object store beside the densities."""

import logging
from collections.abc import Callable
from typing import TypeVar

from services.errors import CheckpointError, StorageError
from services.objects.keys import CHECKPOINTS
from services.objects.storage import Storage

Found = TypeVar("Found")
logger = logging.getLogger(__name__)


class Keeping:
    """`services.diffusion.runtime.fingerprint.Keep` over a store; one that is away costs the time to make it again."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __call__(self, name: str, make: Callable[[], bytes], read: Callable[[bytes], Found]) -> Found:
        key = f"{CHECKPOINTS}{name}"
        try:
            if self._storage.exists(key):
                return read(self._storage.get(key))
        except CheckpointError as error:
            logger.warning("making %s anew: %s", key, error)
        except StorageError as error:
            logger.warning("making %s, which is not kept: %s", key, error)
            return read(make())
        made = make()
        self._put(key, made)
        return read(made)

    def _put(self, key: str, made: bytes) -> None:
        try:
            self._storage.put(key, made, "application/octet-stream")
        except StorageError as error:
            logger.warning("%s is not kept: %s", key, error)
