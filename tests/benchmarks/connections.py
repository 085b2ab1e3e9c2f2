"""A thousand event streams and a thousand long polls at once on one gateway process, while others submit."""

import asyncio
import resource
import statistics
from collections.abc import Iterator
from itertools import count

import psutil

from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import Metrics
from services.jobs.store import connect, connect_async
from tests.accepted import accepted
from tests.benchmarks.throughput import paced, post
from tests.faults.rig import Rig, rig
from tests.servers import redis_binaries

STREAMS = POLLS = 1000
SUBMISSIONS_PER_S = 50

Row = tuple[str, str]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def rows() -> Iterator[Row]:
    """Memory before and with all of them open, submissions meanwhile, and how soon the end reaches everybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with rig(redis_binaries()["valkey"], lease_s=600, appendfsync="everysec") as built:
        gateway = built.start_gateway(RAREBIT_MAX_QUEUED="1000000")
        yield from asyncio.run(_measure(built, int(gateway.address), psutil.Process(gateway.pid)))


async def _measure(built: Rig, port: int, gateway: psutil.Process) -> list[Row]:
    url = built.env["RAREBIT_REDIS_URL"]
    async with connect_async(url) as client:
        jobs = Jobs(client)
        requests = [accepted(concept="lamp", seed=number) for number in range(STREAMS + POLLS)]
        ids = [(await jobs.submit(request, keep_s=3600, max_queued=10**6)).id for request in requests]
    before = _mib(gateway)
    paths = [f"/jobs/{i}/events" for i in ids[:STREAMS]] + [f"/jobs/{i}?wait=60" for i in ids[STREAMS:]]
    opened = [await _open(port, path) for path in paths]
    await asyncio.sleep(2)
    idle = _mib(gateway)
    numbers = count()
    seconds = await paced(port, lambda: post(numbers), SUBMISSIONS_PER_S, 20 * SUBMISSIONS_PER_S)
    p99 = statistics.quantiles(seconds, n=100)[98]
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, _finish, url)
    answers = await asyncio.gather(*(asyncio.wait_for(reader.read(), 60) for reader, _ in opened))
    await ended
    final = sum(b'"succeeded"' in answer for answer in answers)
    return [
        ("gateway RSS before", f"{before:.0f} MiB"),
        (f"with {STREAMS} streams and {POLLS} long polls", f"{idle:.0f} MiB"),
        (
            f"{len(seconds)} submissions meanwhile",
            f"p50 {1000 * statistics.median(seconds):.1f} ms, p99 {1000 * p99:.1f} ms",
        ),
        ("who heard of the end", f"{final} of {len(answers)}"),
        ("gateway RSS at the end", f"{_mib(gateway):.0f} MiB"),
    ]


async def _open(port: int, path: str) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return reader, writer


def _finish(url: str) -> None:
    """End the jobs, as workers would."""
    with connect(url) as client:
        leases = Leases(client, worker="bench", lease_s=600)
        for _ in range(STREAMS + POLLS):
            if claim := leases.claim():
                leases.succeed(claim, [], [], Metrics())


def _mib(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20
