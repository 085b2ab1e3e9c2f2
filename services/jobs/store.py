"""The job store in Redis: `lua/` has its operations, each atomic; only `states.lua` there changes a status.

The gateway calls them through `Jobs` (asyncio), the worker through `Leases`. `keys.lua` names every key of theirs;
Celery, redis-py's lock and the rate limits have keys of their own.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import redis.asyncio
from pydantic import TypeAdapter
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from services.base_models import read_each
from services.bounds import DEFAULT_MODEL, Bounds
from services.errors import StoreUnsafeError
from services.exposure import View
from services.jobs.queue import HINTS, hint_pieces
from services.jobs.record import TRANSITIONS, JobError
from services.objects.keys import FOUND, JOBS, SAVEPOINTS, UPLOADS
from services.redis_url import open_client, open_client_async

Views = list[View]  # oldest first, each output once

SLOT = "{rarebit}"
EVERYBODY = ""  # the tenant where keys are off
_FOLDER = Path(__file__).with_name("lua")
_SCRIPTS = (
    "keys",
    "common",
    "erasures",
    "outbox",
    "queue",
    "tenants",
    "exposures",
    "states",
    "views",
    "submissions",
    "quarantine",
    "leases",
    "uploads",
    "found",
    "batches",
    "density_models",
    "stats",
    "operators",
    "functions",
)  # each uses what those before it have
_OPERATION = re.compile(r"^function (reads|frees|writes)\.(\w+)", re.MULTILINE)
_VIEWS = TypeAdapter(list[View])
_LATE = JobError(code="start_deadline", title="The job waited too long", detail="No worker began within start_within.")
_CONNECTION: dict[str, Any] = {"decode_responses": True, "socket_connect_timeout": 2, "socket_timeout": 5}


def connect(url: str) -> redis.Redis:
    """The worker's client: one immediate retry mends a connection that a restart broke, then redis-py's errors."""
    return open_client(url, retry=Retry(NoBackoff(), 1), **_CONNECTION)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The gateway's client, with the same limits."""
    return open_client_async(url, retry=redis.asyncio.retry.Retry(NoBackoff(), 1), **_CONNECTION)


def require_durable(info: Mapping[str, Any]) -> None:
    """StoreUnsafeError unless the server whose INFO this is evicts nothing, appends to a file and is no cluster's."""
    if info.get("cluster_enabled"):
        raise StoreUnsafeError(
            "Redis runs in cluster mode, which Celery's transport does not speak: "
            "it needs one primary, with replicas and Sentinel where it has to be available"
        )
    policy, appends = info["maxmemory_policy"], bool(info["aof_enabled"])
    if policy != "noeviction" or not appends:
        raise StoreUnsafeError(
            "Redis would lose jobs: it needs maxmemory-policy noeviction and appendonly yes, "
            f"and has {policy} and {'yes' if appends else 'no'}"
        )


class Operations:
    """Calls operations one by one, as the worker and the operator do; the gateway's way is `Pipelines`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, operation: str, tenant: str, *arguments: str | int) -> Any:
        """What the operation answers. Raises redis-py's errors."""
        call = partial(self._client.fcall, function(operation), 1, SLOT, tenant, *arguments)
        try:
            return call()
        except ResponseError as error:
            if late := late_jobs(error):
                self("fail_late", tenant, *late)
                return self(operation, tenant, *arguments)
            if not is_missing(error):
                raise
        self._client.function_load(library()[1], replace=True)
        return call()


def function(operation: str) -> str:
    """The name of the function that does this."""
    return f"{library()[0]}_{operation}"


def is_missing(error: Exception) -> bool:
    """Whether the server says that it does not have the function (yet)."""
    return isinstance(error, ResponseError) and "Function not found" in str(error)


def late_jobs(error: Exception) -> list[str]:
    """The jobs that a read found not started in time, where the error says so: `fail_late` is to fail them first."""
    code, *ids = str(error).split() or [""]
    return ids if code == "LATE" else []


@cache
def library() -> tuple[str, str]:
    """The name and the code of a library that has a function for each operation.

    A script would run from its first line in each call: 30 µs, more than most operations take. The name has the code's
    digest in it, so that processes of two versions can work on one server.
    """
    transitions = [f"{old} = {_table(new.value for new in states)}" for old, states in TRANSITIONS.items()]
    late = json.dumps({"error": _LATE.model_dump()})
    prefixes = {"JOBS": JOBS, "UPLOADS": UPLOADS, "FOUND": FOUND, "SAVEPOINTS": SAVEPOINTS}
    words = {"LATE": late, "HINTS": HINTS, "DEFAULT": DEFAULT_MODEL, **prefixes}
    values = [f"local TRANSITIONS, HINT = {{{', '.join(transitions)}}}, {_table(hint_pieces())}"]
    values += [f"local {name} = [==[{word}]==]" for name, word in words.items()]
    files = [(_FOLDER / f"{name}.lua").read_text() for name in _SCRIPTS]
    operations = _OPERATION.findall("\n".join(files))
    functions = [f"register('{name}', {right}.{name}, RIGHTS.{right})" for right, name in operations]
    code = "\n".join([*values, *files, *functions])
    name = f"rarebit_{hashlib.sha256(code.encode()).hexdigest()[:16]}"
    return name, f"#!lua name={name}\nlocal NAME = '{name}'\n{code}"


def _table(words: Iterable[str]) -> str:
    """A list of words as Lua writes it."""
    return f"{{{', '.join(f'[==[{word}]==]' for word in words)}}}"


def name_of(tenant: str, exposure: str) -> str:
    """What stands for a tenant's exposure key in Redis: of bounded length, and nobody's address in plain sight."""
    return hashlib.sha256(f"{tenant}:{exposure}".encode()).hexdigest()


def write_views(tenant: str, exposure: str, views: Sequence[View], bounds: Bounds) -> tuple[str, str, int, int]:
    """What `see` in exposures.lua takes: the history's name, the views, and how long how many histories are kept."""
    documents = _VIEWS.dump_json(list(views)).decode()
    return name_of(tenant, exposure), documents, 1000 * bounds.exposure_ttl_s, bounds.exposures


def read_views(documents: Sequence[str]) -> Views:
    return read_each("a view of a history", View.model_validate_json, documents)
