"""What a job and a worker cost Redis while thousands of workers run: its CPU, its memory and what it appends."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from services.jobs.leases import Claim, Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import Metrics, Progress, ReachedRarity, StoredOutput, TrialProgress
from services.jobs.store import connect, connect_async
from services.objects.keys import output_key, savepoint_key
from tests.accepted import accepted
from tests.faults.rig import Rig, rig
from tests.servers import redis_binaries

WORKERS = 10_000
CALLS = 400
IDLE_S = 20.0
STEPS, TRIALS, OUTPUTS = 60, 20, 4  # of a job, about, as the defaults have it
STEP = Progress(phase="optimize", step=25, steps=50, rarity_bits=8.2)
TOLD = [TrialProgress(bits=8.25, validity=0.913, x=-1.27, y=0.53, state="moving")] * TRIALS

Row = tuple[str, str]
Call = Callable[[Leases, Claim], object]


class Meter:
    """What the server has spent by now."""

    def __init__(self, built: Rig) -> None:
        self._built = built

    def cpu_s(self) -> float:
        """Of all its threads, as the scheduler counts."""
        tasks = Path(f"/proc/{self._built.redis.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def sizes(self) -> tuple[int, int]:
        """Bytes in memory, and appended to its file."""
        with self._built.client() as client:
            info = client.info()
        return int(info["used_memory"]), int(info["aof_current_size"])


def rows() -> Iterator[Row]:
    """A full fleet first; then what each call costs it, and what a job leaves."""
    with (
        rig(redis_binaries()["valkey"], lease_s=30, appendfsync="everysec") as built,
        connect(built.env["RAREBIT_REDIS_URL"]) as client,
    ):
        meter = Meter(built)
        yield from _idle(built, client)
        client.config_set("auto-aof-rewrite-percentage", 0)  # its file is to grow
        before = meter.sizes()
        asyncio.run(_submit(built, WORKERS))
        yield "a job that waits", _grown(before, meter.sizes(), WORKERS)
        pairs = [(leases, leases.claim()) for leases in _workers(client)]
        for leases, _ in pairs:
            leases.recover()
        yield from _calls(built, client, meter, pairs)
        yield from _leavings(meter, pairs)


def _idle(built: Rig, client: redis.Redis) -> Iterator[Row]:
    """What one worker holds open and asks for while there is nothing to do."""
    clients = int(client.info("clients")["connected_clients"])
    built.start_workers()
    calls, begin = _calls_answered(client), time.monotonic()
    time.sleep(IDLE_S)
    rate = (_calls_answered(client) - calls) / (time.monotonic() - begin)
    yield (
        "an idle worker",
        f"{int(client.info('clients')['connected_clients']) - clients} connections, {rate:.1f} calls/s",
    )
    built.fleet.stop()
    client.flushall()


def _calls_answered(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def _workers(client: redis.Redis) -> Iterator[Leases]:
    for number in range(WORKERS):
        yield Leases(client, worker=f"worker-{number:05}:1", lease_s=3600)


async def _submit(built: Rig, jobs: int) -> None:
    """So many together that they share pipelines, as those of a busy gateway do."""
    request = accepted(concept="handbag", count=OUTPUTS)
    async with connect_async(built.env["RAREBIT_REDIS_URL"]) as client:
        store = Jobs(client)
        for _ in range(jobs // 100):
            await asyncio.gather(*(store.submit(request, keep_s=3600, max_queued=10**6) for _ in range(100)))


def _calls(built: Rig, client: redis.Redis, meter: Meter, pairs: list[tuple[Leases, Claim]]) -> Iterator[Row]:
    calls: dict[str, Call] = {
        "a PING, for comparison": lambda leases, _: client.ping(),
        "step of 20 trials": lambda leases, claim: leases.progress(claim, STEP, TOLD),
        "savepoint": lambda leases, claim: leases.name_savepoint(claim, savepoint_key(claim.id, 1, 0)),
        "beat: renew": lambda leases, claim: leases.renew(claim),
        "beat: recover": lambda leases, _: leases.recover(),
        "beat: look for erasures": lambda leases, _: leases.take_erasures(),
        "end": lambda leases, claim: leases.succeed(claim, outputs_of(claim), [], Metrics()),
    }
    begin = meter.cpu_s()
    asyncio.run(_submit(built, CALLS))
    yield "submit", _micros(meter.cpu_s() - begin)
    for name, call in calls.items():
        begin = meter.cpu_s()
        for leases, claim in pairs[:CALLS]:
            call(leases, claim)
        yield name, _micros(meter.cpu_s() - begin)
    begin = meter.cpu_s()
    for leases, _ in pairs[:CALLS]:
        leases.claim()
    yield "claim", _micros(meter.cpu_s() - begin)


def _leavings(meter: Meter, pairs: list[tuple[Leases, Claim]]) -> Iterator[Row]:
    """What grows while jobs run, which is a while after the end, too; and what stays of them until they expire."""
    some, before = pairs[CALLS : 2 * CALLS], meter.sizes()
    for leases, claim in some:
        for _ in range(STEPS):
            leases.progress(claim, STEP, TOLD)
    yield f"{STEPS} steps", _grown(before, meter.sizes(), CALLS)
    others, before = pairs[2 * CALLS : 3 * CALLS], meter.sizes()
    for leases, claim in others:
        leases.succeed(claim, outputs_of(claim), [], Metrics())
    yield f"an end with {OUTPUTS} outputs", _grown(before, meter.sizes(), CALLS)


def outputs_of(claim: Claim) -> list[StoredOutput]:
    """With replay blocks as long as those of a plain job; what it avoids or an exposure key add comes on top."""
    facts = {"media_type": "image/png", "width": 768, "height": 768, "bytes": 412345, "sha256": "0" * 64}
    figures = {"rarity": ReachedRarity(percentile=99.9, bits=10, d2=80, residual=0.5), "anchor": 0.3, "validity": 0.9}
    return [
        StoredOutput(
            key=output_key(claim.id, 1, n, "png"), seed=n, replay={"recipe": "r" * 1200, "trial": n}, **facts, **figures
        )
        for n in range(OUTPUTS)
    ]


def _micros(seconds: float) -> str:
    return f"{1e6 * seconds / CALLS:.0f} µs"


def _grown(before: tuple[int, int], after: tuple[int, int], jobs: int) -> str:
    memory, appended = ((now - then) / jobs for then, now in zip(before, after, strict=True))
    return f"{memory:,.0f} bytes in memory, {appended:,.0f} appended"


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| | |"
    yield "|---|---|"
    for what, figures in rows():
        yield f"| {what} | {figures} |"
