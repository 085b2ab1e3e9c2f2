"""Stand-in workers by the dozen: processes that are forked from one that has imported torch, and may be killed."""

import ctypes
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.faults import stand_in

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.faults.stand_in"])


class Worker:
    """One process; its log is what it has said."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.process: BaseProcess = _forks.Process(target=_run, args=(dict(env), log))
        self.process.start()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def said(self, pattern: str) -> list[str]:
        """What matches in the log, in order."""
        return re.findall(pattern, self.log.read_text()) if self.log.exists() else []

    @property
    def ready(self) -> bool:
        return bool(self.said(r"celery@\S+ ready"))


class Fleet:
    """Workers with one environment. Supervised, another one is started for each that ends."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.workers: list[Worker] = []
        self._env, self._folder = env, folder
        self._supervised = threading.Event()
        self._lock = threading.Lock()

    def start(self, count: int = 1, **env: str) -> list[Worker]:
        with self._lock:
            logs = [self._folder / f"worker-{len(self.workers) + i}.log" for i in range(count)]
            new = [Worker({**self._env, **env}, log) for log in logs]
            self.workers += new
        return new

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.process.is_alive()]

    def running(self, job_id: str) -> Worker | None:
        """Who of the living was the last to say that it runs the job."""
        attempts = {worker: worker.said(rf"job {job_id}: attempt (\d+): runs") for worker in self.alive}
        return max((w for w in attempts if attempts[w]), key=lambda w: int(attempts[w][-1]), default=None)

    def supervise(self, interval_s: float = 0.1) -> None:
        """Keep as many alive as there are now, from another thread, until `stop`."""
        wanted = len(self.alive)

        def keep() -> None:
            while self._supervised.is_set():
                self.start(wanted - len(self.alive))
                time.sleep(interval_s)

        self._supervised.set()
        threading.Thread(target=keep, daemon=True).start()

    def kill_one(self, rng: random.Random) -> Worker:
        victim = rng.choice([worker for worker in self.alive if worker.ready])
        victim.signal(signal.SIGKILL)
        return victim

    def published(self) -> Iterator[str]:
        """Job ids in the order of the logs, once for each time that a worker says that its result is the job's."""
        for worker in self.workers:
            yield from worker.said(r"job (\w+): attempt \d+: succeeded")

    def stop(self) -> None:
        self._supervised.clear()
        with self._lock:
            for worker in self.alive:
                worker.signal(signal.SIGKILL)
        for worker in self.workers:
            worker.process.join()


def _run(env: dict[str, str], log: Path) -> None:
    """What the forked process does: it dies with its parent, and says everything in its log."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(env)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    stand_in.main()
