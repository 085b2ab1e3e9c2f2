"""What `rarebit plan` predicts beside what happens: the same arrivals on 1, 2 and 4 real workers (stand-in sampler)."""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator, Sequence

from deploy.local.planning.waiting import Job, arriving, p95, waits
from services.jobs.lifecycle import Jobs
from services.jobs.store import connect_async
from tests.accepted import accepted
from tests.faults.rig import Rig, rig
from tests.servers import redis_binaries

DURATIONS_S = (0.5, 1.0, 1.5)
WORKERS = (1, 2, 4)
PHASES = 5  # of the stand-in, which pauses in each
JOBS = 60  # for each worker
BUSY = 0.9


def lines() -> Iterator[str]:
    """Markdown, a line at a time. The prediction takes what a job was measured to take, as the command does."""
    yield "| workers | mean wait, s | predicted | p95 wait, s | predicted |"
    yield "|---|---|---|---|---|"
    for workers in WORKERS:
        with rig(redis_binaries()["valkey"], lease_s=30) as built:
            built.env["RAREBIT_SHARE_WAIT_MS"] = "0"  # a job at a time
            built.start_workers(workers)
            per_minute = 60 * BUSY * workers / statistics.fmean(DURATIONS_S)
            jobs = arriving(per_minute, DURATIONS_S, random.Random(workers), JOBS * workers)
            ids = asyncio.run(_submit(built, jobs))
            records = built.wait_for_end(*ids, limit_s=600)
        waited = [int(record["queue_ms"]) / 1000 for record in records]
        predicted = list(waits(_measured(records), workers))
        figures = (statistics.fmean(waited), statistics.fmean(predicted), p95(waited), p95(predicted))
        yield f"| {workers} | {' | '.join(f'{figure:.2f}' for figure in figures)} |"


def _measured(records: Sequence[dict[str, str]]) -> list[Job]:
    """When each came, and what it took."""
    first = min(int(record["created_at"]) for record in records)
    return [
        Job((int(r["created_at"]) - first) / 1000, (int(r["finished_at"]) - int(r["started_at"])) / 1000)
        for r in records
    ]


async def _submit(built: Rig, jobs: Sequence[Job]) -> list[str]:
    begin, ids = time.monotonic(), []
    async with connect_async(built.env["RAREBIT_REDIS_URL"]) as client:
        for job in jobs:
            await asyncio.sleep(max(0.0, begin + job.arrives_s - time.monotonic()))
            step = {"step_s": str(job.takes_s / PHASES)}
            request = accepted(concept="chair", steps=1, trials=64, metadata=step)
            ids.append((await Jobs(client).submit(request, keep_s=3600, max_queued=10**6)).id)
    return ids
