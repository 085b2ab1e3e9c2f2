"""Stand-in workers by the dozen: processes that are forked from one that has imported torch, and may be killed."""

import ctypes
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self.process.pid, number)

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
        self._over = threading.Event()
        self._supervisor: threading.Thread | None = None

    def start(self, count: int = 1) -> list[Worker]:
        """For each of them a log of its own."""
        logs = [self._folder / f"worker-{len(self.workers) + i}.log" for i in range(count)]
        new = [Worker(self._env, log) for log in logs]
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
            while not self._over.wait(interval_s):
                self.start(wanted - len(self.alive))

        self._supervisor = threading.Thread(target=keep, daemon=True)
        self._supervisor.start()

    def kill_one(self, rng: random.Random) -> None:
        """Any of those that listen, if there is one."""
        if ready := [worker for worker in self.alive if worker.ready]:
            rng.choice(ready).signal(signal.SIGKILL)

    def published(self) -> Iterator[str]:
        """Job ids in the order of the logs, once for each time that a worker says that its result is the job's."""
        for worker in self.workers:
            yield from worker.said(r"job (\w+): attempt \d+: succeeded")

    def stop(self) -> None:
        self._over.set()
        if self._supervisor:
            self._supervisor.join()
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
