"""What KEDA and the autoscaler behind it make of a load, by the numbers of the chart's ScaledObject."""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Self

from deploy.local.planning.waiting import Job

MEASURED = 100  # jobs whose median the gateways tell
SYNC_S = 15  # between two looks of the autoscaler


@dataclass(frozen=True)
class Numbers:
    """Those of a ScaledObject; `start_within_s` is in its query."""

    least: int
    most: int
    jobs_per_worker: float
    start_within_s: float
    up_factor: float
    up_pods: int
    up_period_s: float
    down_pods: int
    down_period_s: float
    stabilization_s: float
    cooldown_s: float

    @classmethod
    def read(cls, spec: Mapping[str, Any], start_within_s: float) -> Self:
        """Of the `spec` as the chart renders it."""
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        up = {policy["type"]: policy for policy in behavior["scaleUp"]["policies"]}
        [down] = behavior["scaleDown"]["policies"]
        return cls(
            least=spec["minReplicaCount"],
            most=spec["maxReplicaCount"],
            jobs_per_worker=float(spec["triggers"][0]["metadata"]["threshold"]),
            start_within_s=start_within_s,
            up_factor=1 + up["Percent"]["value"] / 100,
            up_pods=up["Pods"]["value"],
            up_period_s=up["Pods"]["periodSeconds"],
            down_pods=down["value"],
            down_period_s=down["periodSeconds"],
            stabilization_s=behavior["scaleDown"]["stabilizationWindowSeconds"],
            cooldown_s=spec["cooldownPeriod"],
        )


@dataclass(frozen=True)
class Scaled:
    """What came of it: each job's wait, and how many workers there were at each look."""

    waits_s: list[float]
    workers: list[int]


@dataclass
class Worker:
    """Takes jobs once it has loaded its models; `ends_s` are those of what it runs, or ran last."""

    ready_s: float
    ends_s: list[float]


class Fleet:
    """Workers that run so many jobs `at_once` each, and take `load_s` seconds to start."""

    def __init__(self, workers: int, at_once: int, load_s: float) -> None:
        self._at_once, self._load_s = at_once, load_s
        self.workers = [Worker(0.0, [0.0] * at_once) for _ in range(workers)]

    def resize(self, workers: int, now_s: float) -> None:
        """Idle ones go first; one that is busy ends its jobs, as within its grace."""
        while len(self.workers) < workers:
            self.workers.append(Worker(now_s + self._load_s, [0.0] * self._at_once))
        self.workers.sort(key=lambda worker: max(worker.ends_s), reverse=True)
        del self.workers[workers:]

    def start(self, job: Job, until_s: float) -> float | None:
        """When the job starts, if that is before `until_s`."""
        free = min(self.workers, key=lambda worker: max(worker.ready_s, min(worker.ends_s)), default=None)
        if free is None or (start_s := max(job.arrives_s, free.ready_s, min(free.ends_s))) >= until_s:
            return None
        free.ends_s[free.ends_s.index(min(free.ends_s))] = start_s + job.takes_s
        return start_s

    def running(self, now_s: float) -> int:
        return sum(end_s > now_s for worker in self.workers for end_s in worker.ends_s)


class Autoscaler:
    """How many workers there are to be, from one look to the next."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._asked: deque[tuple[float, int]] = deque()
        self._sizes: deque[tuple[float, int]] = deque()
        self._active_s = 0.0

    def size(self, now_s: float, work: float, workers: int) -> int:
        """With `work` as the query tells it; `workers` are there."""
        numbers = self._numbers
        if work > 0:
            self._active_s = now_s
        if not workers or (not work and now_s - self._active_s >= numbers.cooldown_s):
            return max(numbers.least, int(work > 0))
        asked = min(max(math.ceil(work / numbers.jobs_per_worker), numbers.least, 1), numbers.most)
        self._asked.append((now_s, asked))
        self._sizes.append((now_s, workers))
        _forget(self._asked, now_s - numbers.stabilization_s)
        _forget(self._sizes, now_s - max(numbers.up_period_s, numbers.down_period_s))
        if asked > workers:
            base = min(size for at_s, size in self._sizes if at_s >= now_s - numbers.up_period_s)
            return min(asked, max(workers, math.floor(base * numbers.up_factor), base + numbers.up_pods))
        base = max(size for at_s, size in self._sizes if at_s >= now_s - numbers.down_period_s)
        return min(workers, max(base - numbers.down_pods, *(size for _, size in self._asked)))


def _forget(looks: deque[tuple[float, int]], before_s: float) -> None:
    while looks and looks[0][0] < before_s:
        looks.popleft()


def _has_come(now_s: float, job: Job) -> bool:
    return job.arrives_s <= now_s


def scaled(jobs: Sequence[Job], numbers: Numbers, load_s: float, at_once: int = 1) -> Scaled:
    """The jobs on a fleet that begins with as few workers as it may have."""
    fleet, scaler, waiting, durations = (
        Fleet(numbers.least, at_once, load_s),
        Autoscaler(numbers),
        deque(jobs),
        deque[float](maxlen=MEASURED),
    )
    found, now_s = Scaled([], []), 0.0
    while waiting or fleet.running(now_s):
        now_s += SYNC_S
        while waiting and (start_s := fleet.start(waiting[0], now_s)) is not None:
            job = waiting.popleft()
            found.waits_s.append(start_s - job.arrives_s)
            durations.append(job.takes_s)
        known = statistics.median(durations) if durations else numbers.start_within_s
        queued = len([*takewhile(partial(_has_come, now_s), waiting)])
        work = queued * known / numbers.start_within_s + fleet.running(now_s)
        found.workers.append(len(fleet.workers))
        fleet.resize(scaler.size(now_s, work, len(fleet.workers)), now_s)
    return found
