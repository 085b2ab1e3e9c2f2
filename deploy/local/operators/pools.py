"""A pool in figures, as `rarebit pools` tells it: the jobs and workers of one model, and how they have done."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from services.jobs.answers import PoolStats
from services.jobs.figures import LOOKUPS, STATES, VERDICTS

ENDINGS = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Pool:
    """A model's jobs and workers; shares are of all that there ever was, None where there was nothing.

    `median_s` is what its last hundred jobs took, `busy` the share of workers' time with a job, `at_hand` that of
    densities which were in memory, `valid` that of judged pictures which the judge held for valid.
    """

    model: str
    workers: int
    running: int
    waiting: Mapping[str, int]
    oldest_waiting_s: float
    ended: Mapping[str, int]
    median_s: float | None
    busy: float | None
    at_hand: float | None
    valid: float | None
    device_memory: float | None
    watt_hours_per_picture: float | None

    @classmethod
    def of(cls, model: str, stats: PoolStats) -> Self:
        def counts(prefix: str, names: Iterable[str]) -> dict[str, int]:
            return {name: stats.counters.get(f"{prefix}:{name}", 0) for name in names}

        states, lookups, verdicts = counts("worker", STATES), counts("densities", LOOKUPS), counts("pictures", VERDICTS)
        energy_wh = stats.counters.get("energy:mj", 0) / 3.6e6
        return cls(
            model=model,
            workers=stats.workers,
            running=stats.jobs_running,
            waiting=stats.waiting,
            oldest_waiting_s=stats.oldest_waiting_ms / 1000,
            ended=counts("ended", ENDINGS),
            median_s=statistics.median(stats.durations_ms) / 1000 if stats.durations_ms else None,
            busy=_share(states["busy"], states.values()),
            at_hand=_share(lookups["memory"], lookups.values()),
            valid=_share(verdicts["valid"], (verdicts["valid"], verdicts["doubtful"])),
            device_memory=stats.device_memory,
            watt_hours_per_picture=_share(energy_wh, verdicts.values()) if energy_wh else None,
        )


def _share(of: float, all_of: Iterable[float]) -> float | None:
    total = sum(all_of)
    return round(of / total, 4) if total else None
