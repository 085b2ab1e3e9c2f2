"""A thread that erases what has expired, apart from the heartbeat: a slow store must not cost a job its lease."""

import logging
import os
import signal
import threading
import time

from redis.exceptions import RedisError

from services.errors import StorageError
from services.leases import Leases
from services.storage import Storage

logger = logging.getLogger(__name__)


class Sweeper(threading.Thread):
    """Sweeps every `interval_s` seconds, at first at once; a sweeper that fails ends the process."""

    def __init__(self, leases: Leases, storage: Storage, interval_s: float) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._leases = leases
        self._storage = storage
        self._interval_s = interval_s

    def run(self) -> None:
        try:
            while True:
                self.sweep()
                time.sleep(self._interval_s)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def sweep(self) -> None:
        """Erase what is due, and then say so: what a store that is away keeps is due again."""
        try:
            for prefix in self._leases.due():
                self._storage.delete(prefix)
                self._leases.bury(prefix)
        except (RedisError, StorageError) as error:
            logger.warning("sweeper: %s", error)
