"""The job store in Redis: `scripts/` has its operations, each atomic; only `jobs.lua` there changes a status.

The gateway calls them through `Jobs` (asyncio), the worker through `Leases`.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import redis.asyncio
from pydantic import TypeAdapter
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.exposure import View
from services.queue import hint
from services.redis_url import open_client, open_client_async
from services.schemas import TRANSITIONS, JobError

History = list[View]  # oldest first, each output once

SLOT = "{rarebit}"
EVERYBODY = ""  # the tenant where keys are off
_FOLDER = Path(__file__).with_name("scripts")
_SCRIPTS = (
    "common",
    "outbox",
    "queue",
    "tenants",
    "exposures",
    "jobs",
    "uploads",
    "batches",
    "density_models",
    "stats",
)  # each uses what those before it have
_CALL = "fail_late()\nreturn operations[OPERATION](unpack(ARGV, 3))\n"
_VIEWS = TypeAdapter(list[View])
_LATE = JobError(code="start_deadline", title="The job waited too long", detail="No worker began within start_within.")
_CONNECTION: dict[str, Any] = {"decode_responses": True, "socket_connect_timeout": 2, "socket_timeout": 5}


def connect(url: str) -> redis.Redis:
    """The worker's client: one immediate retry mends a connection that a restart broke, then redis-py's errors."""
    return open_client(url, retry=Retry(NoBackoff(), 1), **_CONNECTION)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The gateway's client, with the same limits."""
    return open_client_async(url, retry=redis.asyncio.retry.Retry(NoBackoff(), 1), **_CONNECTION)


@cache
def script() -> str:
    """The scripts as one, with the three values that they need from here; the operation comes in as an argument."""
    transitions, late = json.dumps(TRANSITIONS), json.dumps({"error": _LATE.model_dump()})
    head = f"local TRANSITIONS = cjson.decode([==[{transitions}]==])\nlocal HINT = [==[{hint()}]==]\n"
    files = [(_FOLDER / f"{name}.lua").read_text() for name in _SCRIPTS]
    return "\n".join([head, f"local LATE = [==[{late}]==]", *files, _CALL])


def name_of(tenant: str, exposure: str) -> str:
    """What stands for a tenant's exposure key in Redis: of bounded length, and nobody's address in plain sight."""
    return hashlib.sha256(f"{tenant}:{exposure}".encode()).hexdigest()


def write_views(views: Sequence[View]) -> str:
    return _VIEWS.dump_json(list(views)).decode()


def read_history(history: Sequence[str]) -> History:
    return [View.model_validate_json(view) for view in history]
