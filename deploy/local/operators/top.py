"""`rarebit top`: the whole service on one screen, which is written anew every few seconds."""

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated

import redis
import typer
from redis.exceptions import RedisError
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from deploy.local.operators.administration import RedisUrl
from deploy.local.operators.lists import WIDE, WORKER_COLUMNS, AsJson, span, table_of, worker_rows
from deploy.local.operators.pools import ENDINGS
from deploy.local.operators.reading import Overview, SeenWorker
from deploy.local.sentence import one_sentence
from services.jobs.answers import PRIORITIES
from services.jobs.store import connect

WINDOW_S = 300.0  # over which rates are taken


@dataclass(frozen=True)
class Look:
    """The service at a moment. `ended` counts all that ever have; `median_s` is of the
    last hundred of each model that succeeded."""

    waiting: Mapping[str, int]
    oldest_waiting_s: float
    running: int
    quarantined: int
    webhooks_due: int
    objects_due: int
    ended: Mapping[str, int]
    median_s: float | None
    workers: Sequence[SeenWorker]


def top(
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0",
    interval: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds between two looks.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Watch queue, workers, what they run and what ends, until Ctrl-C; look once with --json or without a terminal."""
    with one_sentence(), connect(redis_url) as client:
        if as_json:
            print(json.dumps(asdict(look(client)), ensure_ascii=False, indent=1))
        elif sys.stdout.isatty():
            with suppress(KeyboardInterrupt):
                _watch(client, interval)
        else:
            Console(width=WIDE).print(screen(look(client), Rates()))


def look(client: redis.Redis) -> Look:
    """Raises redis-py's errors."""
    overview = Overview(client)
    stats = overview.stats()
    figures, pools = stats.figures, stats.pools.values()
    durations_ms = [ms for pool in pools for ms in pool.durations_ms]
    return Look(
        waiting={priority: sum(pool.waiting[priority] for pool in pools) for priority in reversed(PRIORITIES)},
        oldest_waiting_s=max(pool.oldest_waiting_ms for pool in pools) / 1000,
        running=sum(pool.jobs_running for pool in pools),
        quarantined=figures["jobs_quarantined"],
        webhooks_due=figures["webhooks_due"],
        objects_due=figures["objects_due"],
        ended={status: sum(pool.counters.get(f"ended:{status}", 0) for pool in pools) for status in ENDINGS},
        median_s=statistics.median(durations_ms) / 1000 if durations_ms else None,
        workers=overview.workers(),
    )


class Rates:
    """How many jobs ended in the last five minutes, or since it was first told of them."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at_s: float, ended: Mapping[str, int]) -> None:
        self._looks.append((at_s, ended))
        while at_s - self._looks[0][0] > WINDOW_S:
            self._looks.popleft()

    def told(self) -> str:
        """In words; nothing before two looks."""
        if len(self._looks) < 2:
            return ""
        (since_s, first), (now_s, last) = self._looks[0], self._looks[-1]
        grown = {status: last[status] - first[status] for status in ENDINGS}
        a_minute = 60 * grown["succeeded"] / (now_s - since_s)
        counts = ", ".join(f"{status} {count}" for status, count in grown.items())
        return f"last {span(now_s - since_s)}: {counts}; {a_minute:.1f} a minute"


def screen(seen: Look, rates: Rates) -> Group:
    """As it is shown; what is longer than the terminal is cut off there."""
    waiting = ", ".join(f"{priority} {number}" for priority, number in seen.waiting.items())
    oldest = f", the oldest for {span(seen.oldest_waiting_s)}" if any(seen.waiting.values()) else ""
    took = f"; the last hundred took {span(seen.median_s)} in the median" if seen.median_s is not None else ""
    lines = [
        f"waiting: {waiting}{oldest}",
        f"running: {seen.running} on {len(seen.workers)} workers{took}",
        f"quarantined: {seen.quarantined}; due: webhooks {seen.webhooks_due}, objects to erase {seen.objects_due}",
        rates.told(),
    ]
    rows = (row for worker in seen.workers for row in worker_rows(worker))
    return Group(*map(Text, lines), table_of(WORKER_COLUMNS, rows))


def _watch(client: redis.Redis, interval_s: float) -> None:
    """An outage of Redis is told where the figures were; they come back with it."""
    rates = Rates()
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            try:
                rates.add(time.monotonic(), (seen := look(client)).ended)
                live.update(screen(seen, rates), refresh=True)
            except RedisError as error:
                live.update(Text(f"Redis does not answer: {error}"), refresh=True)
            time.sleep(interval_s)
