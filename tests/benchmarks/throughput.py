"""What the gateway's calls cost beside a bare FastAPI endpoint with one Redis round trip, on one process each."""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import redis.asyncio
from fastapi import FastAPI

from deploy.local.stack.child import Child
from tests.faults.rig import Rig, rig
from tests.servers import eventually, free_port, redis_binaries

CONNECTIONS = 16
REQUESTS = 2000
ROUNDS = 7
BODY = json.dumps({"concept": "handbag", "count": 4, "rarity": {"bits": 10}}).encode()

Request = Callable[[], bytes]
Row = tuple[str, str]


def bare() -> FastAPI:
    """What any service of this kind cannot do without."""
    app, client = FastAPI(), redis.asyncio.Redis.from_url(os.environ["RAREBIT_REDIS_URL"], decode_responses=True)

    @app.get("/")
    async def look() -> dict[str, str | None]:
        return {"value": await client.get("{rarebit}:bare")}

    return app


def rows() -> Iterator[Row]:
    """The three, in turn, each at its maximum; then ours at half of it."""
    with rig(redis_binaries()["valkey"], lease_s=30, appendfsync="everysec") as built:
        gateway = int(built.start_gateway(RAREBIT_MAX_QUEUED="1000000").address)
        with _bare(built) as beside:
            yield from _measure(gateway, beside)


def _measure(gateway: int, beside: int) -> Iterator[Row]:
    numbers = count()
    first = asyncio.run(_ask(gateway, post(numbers)))
    job_id = json.loads(first)["id"]
    kinds: dict[str, tuple[int, Request]] = {
        "bare": (beside, get("/")),
        "POST /jobs": (gateway, lambda: post(numbers)),
        "GET /jobs/{id}": (gateway, get(f"/jobs/{job_id}")),
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (port, request) in kinds.items():
            rates[name].append(asyncio.run(_rate(port, request)))
    for name in kinds:
        ratios = [own / bare for own, bare in zip(rates[name], rates["bare"], strict=True)]
        yield name, f"{statistics.median(rates[name]):.0f}/s, {statistics.median(ratios):.2f} of bare"
    for name in ("POST /jobs", "GET /jobs/{id}"):
        port, request = kinds[name]
        seconds = asyncio.run(paced(port, request, statistics.median(rates[name]) / 2, REQUESTS))
        yield f"{name} at half of that", _quantiles(seconds)


def get(path: str) -> Request:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return lambda: request


def post(numbers: Iterator[int]) -> bytes:
    """A submission with an idempotency key of its own."""
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    return head % len(BODY) + b"Idempotency-Key: %d\r\n\r\n" % next(numbers) + BODY


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = await _exchange(reader, writer, request)
    writer.close()
    return body


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:12] not in (b"200", b"202"):
        raise RuntimeError(head.decode())
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length))


async def _rate(port: int, request: Request) -> float:
    """Requests a second over connections that are never idle."""

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(REQUESTS // CONNECTIONS):
            await _exchange(reader, writer, request())
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return REQUESTS / (time.perf_counter() - begin)


async def paced(port: int, request: Request, rate: float, requests: int) -> list[float]:
    """Seconds that each request takes, sent at this rate whether or not others have been answered."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    begin, seconds = time.perf_counter(), []

    async def send(due: float) -> None:
        connection = await idle.get()
        await _exchange(*connection, request())
        seconds.append(time.perf_counter() - due)
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number in range(requests):
            due = begin + number / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            tasks.create_task(send(due))
    while not idle.empty():
        idle.get_nowait()[1].close()
    return seconds


def _quantiles(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms"


@contextmanager
def _bare(built: Rig) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.throughput:bare", "--factory", "--port", str(port)]
    log = built.folder / "bare.log"
    child = Child("bare", [*command, "--no-access-log"], log=log, env=os.environ | built.env)
    try:
        if not eventually(lambda: "startup complete" in log.read_text(), 30):
            child.check()
        yield port
    finally:
        child.stop(grace_s=5)
