"""The job store in figures, for those who operate it: read in one call, of all tenants together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from services.jobs.answers import pairs


@dataclass(frozen=True)
class Stats:
    """How much there is of what (`figures`), what the last jobs took, and how often what has happened (`counters`)."""

    figures: dict[str, int]
    durations_ms: Sequence[int]
    counters: dict[str, int]

    @classmethod
    def read(cls, answer: Sequence[Any]) -> Self:
        """What `stats` in stats.lua answered."""
        figures, durations_ms, counters = answer
        return cls(_numbers(figures), [int(ms) for ms in durations_ms], _numbers(counters))


def _numbers(flat: Sequence[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in pairs(flat).items()}
