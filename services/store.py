"""The job store in Redis: `jobs.lua` has its operations, each atomic, and is the only place that changes a status.

The gateway calls them through `Jobs` (asyncio), the worker through `Leases`.
"""

import hashlib
import json
from collections.abc import Sequence
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
_VIEWS = TypeAdapter(list[View])
_LATE = JobError(code="start_deadline", title="The job waited too long", detail="No worker began within start_within.")
_CONNECTION: dict[str, Any] = {"decode_responses": True, "socket_connect_timeout": 2, "socket_timeout": 5}


def connect(url: str) -> redis.Redis:
    """The worker's client: one immediate retry mends a connection that a restart broke, then redis-py's errors."""
    return open_client(url, retry=Retry(NoBackoff(), 1), **_CONNECTION)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The gateway's client, with the same limits."""
    return open_client_async(url, retry=redis.asyncio.retry.Retry(NoBackoff(), 1), **_CONNECTION)


def script() -> str:
    """`jobs.lua` with the three values that it needs from here."""
    transitions, late = json.dumps(TRANSITIONS), json.dumps({"error": _LATE.model_dump()})
    head = f"local TRANSITIONS = cjson.decode([==[{transitions}]==])\nlocal HINT = [==[{hint()}]==]\n"
    return f"{head}local LATE = [==[{late}]==]\n" + Path(__file__).with_name("jobs.lua").read_text()


def name_of(exposure: str) -> str:
    """What stands for an exposure key in Redis: of bounded length, and nobody's address in plain sight."""
    return hashlib.sha256(exposure.encode()).hexdigest()


def write_views(views: Sequence[View]) -> str:
    return _VIEWS.dump_json(list(views)).decode()


def read_history(history: Sequence[str]) -> History:
    return [View.model_validate_json(view) for view in history]
