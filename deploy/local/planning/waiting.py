"""How long jobs wait: the first that comes is the first to start, on whichever worker is free soonest."""

import heapq
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

JOBS = 10_000  # of a plan
SPARE = 1024  # workers beyond those that the work itself takes, at most


@dataclass(frozen=True)
class Job:
    """When it comes and what it takes, in seconds."""

    arrives_s: float
    takes_s: float


@dataclass(frozen=True)
class Plan:
    """So many workers, their load, and what 95 of 100 jobs wait at most."""

    workers: int
    busy: float
    p95_wait_s: float


def arriving(per_minute: float, durations_s: Sequence[float], rng: random.Random, jobs: int = JOBS) -> list[Job]:
    """A Poisson process, each job as long as one that was measured."""
    now_s, made = 0.0, []
    for _ in range(jobs):
        now_s += rng.expovariate(per_minute / 60)
        made.append(Job(now_s, rng.choice(durations_s)))
    return made


def waits(jobs: Sequence[Job], workers: int) -> Iterator[float]:
    """Seconds that each job waits, in the order of their arrival."""
    free_s = [0.0] * workers
    for job in jobs:
        start_s = max(job.arrives_s, free_s[0])
        heapq.heapreplace(free_s, start_s + job.takes_s)
        yield start_s - job.arrives_s


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]


def plan_of(jobs: Sequence[Job], workers: int, at_once: int = 1) -> Plan:
    """What becomes of them on so many workers, each of which runs so many `at_once`."""
    work_s, span_s = sum(job.takes_s for job in jobs), jobs[-1].arrives_s
    return Plan(workers, work_s / span_s / (workers * at_once), p95(list(waits(jobs, workers * at_once))))


def fewest(jobs: Sequence[Job], p95_wait_s: float, at_once: int = 1) -> Plan:
    """The plan with the fewest workers that holds the wait; more workers never make it longer."""
    least = max(1, math.ceil(sum(job.takes_s for job in jobs) / jobs[-1].arrives_s / at_once))
    low, high = least, least + SPARE
    while low < high:
        middle = (low + high) // 2
        held = plan_of(jobs, middle, at_once).p95_wait_s <= p95_wait_s
        low, high = (low, middle) if held else (middle + 1, high)
    return plan_of(jobs, low, at_once)
