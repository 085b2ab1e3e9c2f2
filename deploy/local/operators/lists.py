"""`rarebit jobs`, `workers`, `pools` and `density-models`: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.local.operators.administration import RedisUrl
from deploy.local.operators.pools import Pool
from deploy.local.operators.reading import KnownDensity, OpenJob, Overview, SeenWorker
from deploy.local.sentence import one_sentence
from services.jobs.store import connect

WIDE = 200  # columns, where no terminal says how many it has
WORKER_COLUMNS = "worker model seen job concept phase step bits"
POOL_COLUMNS = "model workers running waiting oldest took busy at-hand valid memory Wh"
AsJson = Annotated[bool, typer.Option("--json", help="As JSON; what ends in _s is in seconds.")]


def list_jobs(
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0",
    limit: Annotated[int, typer.Option(min=1, help="Rows of each status, at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the jobs of all tenants that run, wait, are held until their tenant may run more, or are in quarantine."""
    with _overview(redis_url) as overview:
        places = ("running", "queued", "held", "quarantined")
        jobs = [job for what in places for job in islice(overview.jobs(what), limit)]
        _show(jobs, as_json, "status id tenant model concept age phase step worker", map(_job_cells, jobs))


def list_workers(redis_url: RedisUrl = "redis://127.0.0.1:6379/0", as_json: AsJson = False) -> None:
    """List workers with their last sign of life, of which there are some in each lease, and what they run."""
    with _overview(redis_url) as overview:
        workers = overview.workers()
        _show(workers, as_json, WORKER_COLUMNS, (row for one in workers for row in worker_rows(one)))


def list_pools(redis_url: RedisUrl = "redis://127.0.0.1:6379/0", as_json: AsJson = False) -> None:
    """List models with their workers, what runs and waits, and what there ever was: the median time of the last hundred
    jobs; the shares of workers' time with a job, of densities in memory, of valid pictures, and of device memory at its
    fullest; and watt-hours a picture."""
    with _overview(redis_url) as overview:
        pools = overview.pools()
        _show(pools, as_json, POOL_COLUMNS, map(_pool_cells, pools))


def list_densities(redis_url: RedisUrl = "redis://127.0.0.1:6379/0", as_json: AsJson = False) -> None:
    """List the density models of texts: those that are being fitted or wait for it, then those that are ready."""
    with _overview(redis_url) as overview:
        densities = overview.densities()
        _show(densities, as_json, "state concept prompt step samples used key", map(_density_cells, densities))


@contextmanager
def _overview(redis_url: str) -> Iterator[Overview]:
    with one_sentence(), connect(redis_url) as client:
        yield Overview(client)


def _show(found: Sequence[Any], as_json: bool, columns: str, rows: Iterable[Sequence[str]]) -> None:
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
        return
    Console(width=None if sys.stdout.isatty() else WIDE).print(table_of(columns, rows))


def table_of(columns: str, rows: Iterable[Sequence[str]]) -> Table:
    """A table of the columns whose names are words in `columns`."""
    table = Table(box=None, pad_edge=False)
    for column in columns.split():
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "job"})
    for row in rows:
        table.add_row(*map(Text, row))  # what is in square brackets is a client's word, no style
    return table


def _job_cells(job: OpenJob) -> Sequence[str]:
    phase = f"{job.phase}, silent for {span(job.silent_s)}" if job.silent_s else job.phase
    return job.status, job.id, job.tenant, job.model, job.concept, span(job.age_s), phase, job.step, job.worker


def _pool_cells(pool: Pool) -> Sequence[str]:
    waiting = sum(pool.waiting.values())
    shares = (
        f"{share:.0%}" if share is not None else ""
        for share in (pool.busy, pool.at_hand, pool.valid, pool.device_memory)
    )
    energy = f"{pool.watt_hours_per_picture:.3g}" if pool.watt_hours_per_picture is not None else ""
    numbers = str(pool.workers), str(pool.running), str(waiting)
    oldest = span(pool.oldest_waiting_s) if waiting else ""
    return pool.model, *numbers, oldest, span(pool.median_s), *shares, energy


def worker_rows(worker: SeenWorker) -> Iterator[Sequence[str]]:
    """A row for each job, or one that says nothing of any."""
    seen = span(worker.seen_s) + " ago" if worker.seen_s is not None else "never"
    for job in worker.jobs or [OpenJob("", "", "")]:
        bits = f"{job.bits:.1f}" if job.bits is not None else ""
        yield worker.worker or "of another version", worker.model, seen, job.id, job.concept, job.phase, job.step, bits


def _density_cells(density: KnownDensity) -> Sequence[str]:
    samples = str(density.samples or "")
    used = span(density.used_s) + " ago" if density.used_s is not None else ""
    return density.state, density.concept, density.prompt, density.step, samples, used, density.key


def span(seconds: float | None) -> str:
    """A time as people say it: 8 s, 3 min, 5 h, 2 d."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
