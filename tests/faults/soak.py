"""`make soak`: thousands of jobs through real processes that keep dying, then a count of what is left."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx
import redis

from tests.faults.audit import FINAL, Audit
from tests.faults.page import publish
from tests.faults.rig import Rig, again_and_again, rig
from tests.servers import eventually, redis_binaries

CLIENTS = 8
REDIS_AWAY_S = 1.0
SETTLE_S = 300.0


@dataclass(frozen=True)
class Plan:
    """How much of what; a worker dies every `kill_every_s` seconds, give or take half of it."""

    jobs: int = 10_000
    workers: int = 4
    lease_s: int = 5
    sampler_s: float = 0.02
    kill_every_s: float = 3.0
    redis_deaths: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """What was done to the service, and what is left of it."""

    plan: Plan
    seconds: float
    worker_deaths: int
    answers: Counter[str]
    audit: Audit


def run(plan: Plan) -> Report:
    """One soak, from empty servers to the count."""
    with rig(redis_binaries()["valkey"], lease_s=plan.lease_s, appendfsync="everysec") as built:
        gateway = built.start_gateway()
        built.start_workers(plan.workers)
        built.fleet.supervise()
        begin = time.monotonic()
        with _workers_die(built, plan), _redis_dies(built, plan):
            answers = asyncio.run(_submit(built, f"http://127.0.0.1:{gateway.address}", plan))
            eventually(lambda: _ended(built) >= plan.jobs, SETTLE_S)
        seconds = time.monotonic() - begin
        deaths = sum(not worker.process.is_alive() for worker in built.fleet.workers)
        return Report(plan, seconds, deaths, answers, built.settled(SETTLE_S))


async def _submit(built: Rig, url: str, plan: Plan) -> Counter[str]:
    """Every client repeats a submission, with its key, until it is acknowledged; answers with what it was answered."""
    answers: Counter[str] = Counter()
    numbers = iter(range(plan.jobs))
    body = {"concept": "chair", "steps": 1, "metadata": {"step_s": str(plan.sampler_s / 5)}}  # five phases of a step

    async def client(http: httpx.AsyncClient) -> None:
        for number in numbers:
            while True:
                answer = await _post(http, body, f"soak-{number}")
                answers[answer if isinstance(answer, str) else str(answer.status_code)] += 1
                if isinstance(answer, httpx.Response) and answer.status_code == 202:
                    break
                await asyncio.sleep(0.5)
            built.acknowledged.append(answer.json()["id"])

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return answers


async def _post(http: httpx.AsyncClient, body: dict[str, object], key: str) -> httpx.Response | str:
    try:
        return await http.post("/jobs", json=body, headers={"idempotency-key": key})
    except httpx.TransportError as error:
        return type(error).__name__


def _workers_die(built: Rig, plan: Plan) -> AbstractContextManager[None]:
    rng = random.Random(plan.seed)
    return again_and_again(lambda: built.fleet.kill_one(rng), lambda: plan.kill_every_s * rng.uniform(0.5, 1.5))


@contextmanager
def _redis_dies(built: Rig, plan: Plan) -> Iterator[None]:
    """Each time that another share of the jobs has ended."""

    def kill() -> None:
        for n in range(1, plan.redis_deaths + 1):
            eventually(lambda share=n: _ended(built) > share * plan.jobs / (plan.redis_deaths + 1), 3600)
            built.redis.kill()
            time.sleep(REDIS_AWAY_S)
            built.redis.start()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield
    thread.join()


def _ended(built: Rig) -> int:
    try:
        with built.client() as client:
            return sum(client.zcard(f"{{rarebit}}:status::{status}") for status in FINAL)
    except redis.ConnectionError:
        return 0


def lines(report: Report) -> list[str]:
    """The report as Markdown."""
    plan, audit = report.plan, report.audit
    counts = {name: getattr(audit, name) for name in ("lost", "uninvited", "stuck", "duplicates", "unnamed", "missing")}
    figures = {
        "records afterwards": f"{sum(audit.endings.values()):,}",
        "workers killed": report.worker_deaths,
        "Redis killed": plan.redis_deaths,
        "answers of the gateway": _listed(report.answers),
        "how jobs ended": _listed(audit.endings),
        "attempts that they took": _listed(audit.attempts),
        "minutes": f"{report.seconds / 60:.1f}",
    }
    return [
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in itertools.chain(figures.items(), counts.items())),
    ]


def _listed(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{key}: {count:,}" for key, count in sorted(counts.items(), key=lambda item: str(item[0])))


if __name__ == "__main__":
    publish("soak", lines(run(Plan())))
