"""Rate limits: how many requests a tenant may send a minute, and the headers that say how many are left."""

import time
from typing import Any

import redis.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import RateLimitedError
from services.tenants import Caller

_HEADERS = "rate_limit_headers"


class RateLimiter:
    """Counts a tenant's requests over all gateways; redis-py's errors while Redis is away."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        options: dict[str, Any] = {"connection_pool": client.connection_pool, "key_prefix": "{rarebit}:rate"}
        storage = RedisStorage("redis://", implementation="redispy", **options)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def admit(self, caller: Caller, scope: Scope) -> None:
        """Count a request, and have its answer say what is left. Raises RateLimitedError."""
        if caller.limits.rate is None:
            return
        item = RateLimitItemPerMinute(caller.limits.rate)
        admitted = await self._limiter.hit(item, caller.tenant)
        window = await self._limiter.get_window_stats(item, caller.tenant)
        reset_s = max(1, round(window.reset_time - time.time()))
        scope.setdefault("state", {})[_HEADERS] = {
            "RateLimit-Policy": f'"requests";q={item.amount};w=60',
            "RateLimit": f'"requests";r={window.remaining};t={reset_s}',
        }
        if not admitted:
            raise RateLimitedError(f"more than {item.amount} requests in a minute", retry_after_s=reset_s)


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
