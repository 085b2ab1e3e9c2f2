"""Rate limits: how many requests a tenant may send a minute, what counts as several, and what answers say of it."""

import time
from math import ceil, prod
from typing import Any

import redis.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import OutOfMemoryError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import RateLimitedError
from services.tenants import Caller

WINDOW_S = 60
PAGE = 20  # jobs that one request tells of
WHOLE_BATCH = 100 // PAGE  # requests that telling of a batch counts as, however many jobs it has
_HEADERS = "rate_limit_headers"


def page_cost(request: Request) -> int:
    """As how many requests a page counts: one for each PAGE jobs of its `limit`, which is checked later."""
    limit = request.query_params.get("limit", "")
    return max(1, ceil(int(limit) / PAGE)) if limit.isdecimal() and len(limit) <= 3 else 1


async def batch_cost(request: Request) -> int:
    """As how many requests a new batch counts: one for each of its jobs, which are checked later."""
    body = await request.json() if await request.body() else None
    if not isinstance(body, dict):
        return 1
    jobs, sweep = body.get("jobs"), body.get("sweep")
    values = [axis.get("values") for axis in sweep if isinstance(axis, dict)] if isinstance(sweep, list) else []
    swept = prod(len(one) for one in values if isinstance(one, list)) if values else 0
    return max(1, len(jobs) if isinstance(jobs, list) else 0, swept)


class RateLimiter:
    """Counts a tenant's requests over all gateways; redis-py's errors while Redis is away."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        options: dict[str, Any] = {"connection_pool": client.connection_pool, "key_prefix": "{rarebit}:rate"}
        storage = RedisStorage("redis://", implementation="redispy", **options)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def admit(self, caller: Caller, scope: Scope, cost: int = 1) -> None:
        """Count a request as `cost` requests, or as all that there may be, and have its answer say what is left.

        Raises RateLimitedError, which counts as none.
        """
        if caller.limits.rate is None:
            return
        item = RateLimitItemPerMinute(caller.limits.rate)
        try:
            admitted = await self._limiter.hit(item, caller.tenant, cost=min(cost, item.amount))
        except OutOfMemoryError:  # what cannot be counted is let in: only erasing makes room again
            return
        window = await self._limiter.get_window_stats(item, caller.tenant)
        reset_s = max(1, round(window.reset_time - time.time()))
        scope.setdefault("state", {})[_HEADERS] = {
            "RateLimit-Policy": f'"requests";q={item.amount};w={WINDOW_S}',
            "RateLimit": f'"requests";r={window.remaining};t={reset_s}',
        }
        if not admitted:
            detail = f"more than {item.amount} requests in a minute, of which this one counts as {cost}"
            raise RateLimitedError(detail, retry_after_s=reset_s if cost == 1 else WINDOW_S)


class RateLimitHeaders:
    """Put them on whatever answers the request (IETF draft-ietf-httpapi-ratelimit-headers-10)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(scope.get("state", {}).get(_HEADERS, {}))
            await send(message)

        await self._app(scope, receive, limited)
