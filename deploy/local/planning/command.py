"""`rarebit plan`: how many workers a load takes."""

import json
import random
from dataclasses import asdict
from typing import Annotated

import typer

from deploy.local.operators.administration import RedisUrl
from deploy.local.operators.lists import span
from deploy.local.planning.waiting import arriving, fewest, plan_of
from deploy.local.sentence import one_sentence
from services.bounds import DEFAULT_MODEL
from services.errors import StoreUnsafeError
from services.jobs.answers import Stats
from services.jobs.store import EVERYBODY, Operations, connect


def plan(
    jobs_per_minute: Annotated[float, typer.Option(min=0.01, help="That come, at no regular times.")],
    p95_wait: Annotated[float, typer.Option(min=0, help="Seconds until 95 of 100 have started, at most.")],
    job_seconds: Annotated[
        list[float] | None, typer.Option(min=0.001, help="What a job takes; again for more. Else the last hundred's.")
    ] = None,
    jobs_at_once: Annotated[int, typer.Option(min=1, max=16, help="Of each worker, while it takes that long.")] = 1,
    model: Annotated[str, typer.Option(help="Whose last hundred.")] = DEFAULT_MODEL,
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say how many workers start jobs in time, and what one fewer would do, by a simulated 10,000 jobs."""
    with one_sentence():
        jobs = arriving(jobs_per_minute, job_seconds or _measured(redis_url, model), random.Random(0))  # noqa: S311 (no secret)
        found = fewest(jobs, p95_wait, jobs_at_once)
        plans = [found, *([plan_of(jobs, found.workers - 1, jobs_at_once)] if found.workers > 1 else [])]
        if as_json:
            print(json.dumps([asdict(one) for one in plans], indent=1))
            return
        for one in plans:
            print(f"{one.workers} workers: 95 of 100 jobs start within {span(one.p95_wait_s)}, {one.busy:.0%} busy")


def _measured(redis_url: str, model: str) -> list[float]:
    with connect(redis_url) as client:
        durations_ms = Stats.read(Operations(client)("stats", EVERYBODY)).pool(model).durations_ms
    if len(durations_ms) < 2:
        raise StoreUnsafeError(f"no two jobs of {model} have succeeded yet: say what one takes with --job-seconds")
    return [ms / 1000 for ms in durations_ms]
