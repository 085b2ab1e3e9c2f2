"""Redis: whether it answers, is new enough, keeps what it was told, has the right time, and lets us work."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis
from redis.exceptions import RedisError

from deploy.local.doctor.finding import Finding, failure, ok, warning
from deploy.local.operators.lists import span
from services.errors import StoreUnsafeError
from services.jobs.answers import Stats
from services.jobs.store import EVERYBODY, Operations, connect, require_durable
from services.settings import Settings

OLDEST = 7  # the first with functions
SKEW_S, SKEW_LIMIT_S = 1.0, 60.0


def look(settings: Settings) -> Iterator[Finding]:
    """What follows from the first thing that Redis refuses is not asked."""
    with connect(settings.redis_url) as client:
        try:
            yield _clock(client)
            info: Mapping[str, Any] = client.info()
            yield _version(info)
            yield _durability(info)
            yield from _jobs(client)
        except RedisError as error:
            do = "See that it runs where RAREBIT_REDIS_URL says, and that the user has the rights of docs/stores.md."
            yield failure("redis", f"does not do what is asked: {error}", do)


def _clock(client: redis.Redis) -> Finding:
    """What it is off by, but for half of the way there and back."""
    client.ping()
    before = time.time()
    seconds, microseconds = client.time()
    after = time.time()
    off_s = abs(seconds + microseconds / 1e6 - (before + after) / 2)
    told = f"answers in {1000 * (after - before):.1f} ms, its clock is {off_s:.1f} s off this machine's"
    do = "Have both machines set their clocks by NTP: signed URLs and deadlines depend on them."
    if off_s > SKEW_LIMIT_S:
        return failure("redis", told, do)
    return warning("redis", told, do) if off_s > SKEW_S else ok("redis", told)


def _version(info: Mapping[str, Any]) -> Finding:
    own = info.get("valkey_version")
    name = f"Valkey {own}" if own else f"Redis {info['redis_version']}"
    if int(str(info["redis_version"]).partition(".")[0]) < OLDEST:
        return failure("version", f"{name} has no functions", f"Use Redis {OLDEST} or newer, or any Valkey.")
    return ok("version", name)


def _durability(info: Mapping[str, Any]) -> Finding:
    try:
        require_durable(info)
    except StoreUnsafeError as error:
        do = "Give it `appendonly yes` and `maxmemory-policy noeviction`, outside of cluster mode, and start it again."
        return failure("durability", str(error), do)
    if info.get("aof_last_write_status", "ok") != "ok":
        return failure("durability", "its last write to the append-only file failed", "Make room on its disk.")
    return ok("durability", f"evicts nothing, appends to a file; {_snapshot(info)}")


def _snapshot(info: Mapping[str, Any]) -> str:
    """The age of what a backup would copy; a server that has just started gives its start as the time of the last."""
    age = span(time.time() - info["rdb_last_save_time"])
    return f"last snapshot {age} ago" if info.get("rdb_saves") else f"no snapshot in the {age} since it started"


def _jobs(client: redis.Redis) -> Iterator[Finding]:
    stats = Stats.read(Operations(client)("stats", EVERYBODY))
    waiting = {model: sum(pool.waiting.values()) for model, pool in stats.pools.items()}
    running = sum(pool.jobs_running for pool in stats.pools.values())
    yield ok("jobs", f"{sum(waiting.values())} wait, {running} run")
    if lost := stats.figures["jobs_quarantined"]:
        do = "See them with `rarebit quarantine list`, then replay or erase each."
        yield warning("jobs", f"in quarantine: {lost}", do)
    workers = {model: pool.workers for model, pool in stats.pools.items() if pool.workers}
    heard = ", ".join(f"{number} of {model}" for model, number in workers.items())
    none = warning("workers", "none was heard of in the last minute", "Start `rarebit worker`, or read its log.")
    yield ok("workers", f"heard of in the last minute: {heard}") if workers else none
    if alone := [model for model, number in waiting.items() if number and workers and model not in workers]:
        do = "Start a worker with this RAREBIT_MODEL, or cancel the jobs."
        yield warning("pools", f"jobs wait, and no worker was heard of: {', '.join(alone)}", do)
