"""`make load`: what a full queue costs, what happens beyond it, and what idle processes cost."""

import asyncio
import itertools
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import psutil

from deploy.local.stack.child import RAREBIT, Child
from services.jobs.leases import Leases
from services.jobs.store import connect
from tests.faults.page import publish
from tests.faults.rig import Rig, rig
from tests.servers import Server, eventually, redis_binaries

JOBS = 100_000
BEYOND = 1_000
CLIENTS = 8
CLAIMS = 200
IDLE_S = 30.0
SHARE = JOBS // 10

Row = tuple[str, str]


def rows() -> Iterator[Row]:
    """Everything in one run: first the idle processes, then the queue that fills."""
    with rig(redis_binaries()["valkey"], lease_s=30, appendfsync="everysec") as built:
        gateway = built.start_gateway(RAREBIT_MAX_QUEUED=str(JOBS))
        yield from _idle(built, gateway)
        yield from _full(built, gateway)


def _idle(built: Rig, gateway: Server) -> Iterator[Row]:
    log = built.folder / "worker.log"
    worker = Child("worker", [*RAREBIT, "worker"], log=log, env=os.environ | built.env)
    try:
        if not eventually(lambda: " ready." in log.read_text(), 300):
            worker.check()
        processes = {"gateway": gateway.pid, "worker": worker.pid, "Redis": built.redis.pid}
        before = {name: _cpu_s(pid) for name, pid in processes.items()}
        time.sleep(IDLE_S)
        for name, pid in processes.items():
            yield f"idle {name}, CPU over {IDLE_S:g} s", f"{100 * (_cpu_s(pid) - before[name]) / IDLE_S:.2f}%"
    finally:
        worker.stop(grace_s=30)


def _full(built: Rig, gateway: Server) -> Iterator[Row]:
    url = f"http://127.0.0.1:{gateway.address}"
    rss, memory, begin = _rss(gateway.pid), _redis_memory(built), time.perf_counter()
    answers, seconds = asyncio.run(_submit(url, JOBS))
    taken_s = time.perf_counter() - begin
    yield "jobs queued over HTTP", f"{JOBS:,}, {JOBS / taken_s:.0f}/s from {CLIENTS} clients ({_listed(answers)})"
    for name, part in {"first": seconds[:SHARE], "last": seconds[-SHARE:]}.items():
        yield f"submit, {name} tenth: p50, p99", _percentiles(part)
    yield "Redis memory per queued job", f"{(_redis_memory(built) - memory) / JOBS:.0f} bytes"
    yield "gateway RSS before, after", f"{rss / 2**20:.0f} MiB, {_rss(gateway.pid) / 2**20:.0f} MiB"
    with httpx.Client(base_url=url, trust_env=False) as http, connect(built.env["RAREBIT_REDIS_URL"]) as client:
        [last, *_] = http.get("/jobs", params={"limit": 1}).json()["jobs"]
        yield "place of the last job", f"{http.get(last['urls']['self']).json()['queue']['position']:,}"
        yield "look at the last job: p50, p99", _percentiles(_timed(lambda: http.get(last["urls"]["self"])))
        leases = Leases(client, worker="load", lease_s=30)
        answers, seconds = asyncio.run(_submit(url, BEYOND))
        yield f"{BEYOND:,} more submissions", f"{_listed(answers)}; p50, p99 {_percentiles(seconds)}"
        yield "claim a job: p50, p99", _percentiles(_timed(leases.claim))


async def _submit(url: str, jobs: int) -> tuple[Counter[str], list[float]]:
    """Answers with the status and problem type of every answer, counted, and the seconds that each took, in order."""
    answers: Counter[str] = Counter()
    seconds: list[float] = []
    numbers = iter(range(jobs))

    async def client(http: httpx.AsyncClient) -> None:
        for number in numbers:
            begin = time.perf_counter()
            answer = await http.post("/jobs", json={"concept": "handbag", "seed": number})
            seconds.append(time.perf_counter() - begin)
            problem = "" if answer.is_success else " " + answer.json()["type"].rpartition(":")[2]
            answers[f"{answer.status_code}{problem}"] += 1

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return answers, seconds


def _timed(action: Callable[[], object]) -> list[float]:
    moments = [time.perf_counter()]
    for _ in range(CLAIMS):
        action()
        moments.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(moments)]


def _percentiles(seconds: list[float]) -> str:
    hundredths = statistics.quantiles(seconds, n=100)
    return f"{1000 * hundredths[49]:.1f} ms, {1000 * hundredths[98]:.1f} ms"


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _rss(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def _redis_memory(built: Rig) -> int:
    with built.client() as client:
        return int(client.info("memory")["used_memory"])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{answer}: {count:,}" for answer, count in counts.items())


if __name__ == "__main__":
    publish("load", ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows())])
