"""A thread that erases what is to be erased, apart from the heartbeat: a slow store must not cost a job its lease."""

import logging
import os
import signal
import threading
import time

from redis.exceptions import RedisError

from services.errors import StorageError
from services.jobs.leases import Erasure, Leases
from services.objects.storage import Storage

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
        """Erase until nothing is due that no other worker is at; what cannot be erased is put off, each by itself."""
        try:
            while erasures := self._leases.take_erasures():
                for erasure in erasures:
                    self._erase(erasure)
        except RedisError as error:
            logger.warning("sweeper: %s", error)

    def _erase(self, erasure: Erasure) -> None:
        try:
            self._storage.delete(erasure.prefix)
        except StorageError as error:
            logger.warning("sweeper: put off: %s", error)
            self._leases.put_off(erasure)
        else:
            self._leases.end_erasure(erasure)
