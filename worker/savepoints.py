"""A run's savepoints as objects that the job's record names."""

import itertools
import logging

from redis.exceptions import RedisError

from services.diffusion.runtime.savepoint import Savepoint
from services.errors import LeaseLostError, StorageError
from services.jobs.leases import Claim, Leases
from services.objects.keys import savepoint_key
from services.objects.storage import Storage

logger = logging.getLogger(__name__)


class Savepoints:
    """Those of one attempt: an object for each, and the one before is erased once the record names the next."""

    def __init__(self, leases: Leases, storage: Storage, claim: Claim) -> None:
        self._leases, self._storage, self._claim = leases, storage, claim
        self._numbers = itertools.count()

    def open(self) -> Savepoint:
        """From where the last attempt had come to; from the beginning if that cannot be read."""
        return Savepoint(self._found(), self._keep)

    def _found(self) -> bytes | None:
        try:
            return self._storage.get(self._claim.savepoint) if self._claim.savepoint else None
        except StorageError as error:
            logger.warning("job %s begins again: %s", self._claim.id, error)
            return None

    def _keep(self, data: bytes) -> None:
        """A store or Redis that is away costs the savepoint, not the run; LeaseLostError costs both."""
        key = savepoint_key(self._claim.id, self._claim.attempt, next(self._numbers))
        try:
            self._storage.put(key, data, "application/octet-stream")
            self._erase(self._leases.name_savepoint(self._claim, key))
        except (StorageError, RedisError) as error:
            logger.warning("job %s: no savepoint: %s", self._claim.id, error)
        except LeaseLostError:
            self._erase(key)
            raise

    def _erase(self, key: str) -> None:
        if key:
            self._storage.delete(key.rpartition("/")[0] + "/")
