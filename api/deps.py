"""What routes ask for, as annotated aliases: the gateway as the caller's tenant may use it."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Annotated

import redis.asyncio
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from api.limits import RateLimiter
from services.batches import Batches
from services.changes import Changes
from services.errors import ForbiddenError
from services.jobs import Jobs
from services.quarantine import Quarantine
from services.settings import Settings
from services.storage import Storage
from services.tenants import NOBODY, Caller, Doorkeeper
from services.uploads import Uploads


@dataclass(frozen=True)
class Gateway:
    """What lives as long as the application."""

    settings: Settings
    redis: redis.asyncio.Redis
    doorkeeper: Doorkeeper
    limiter: RateLimiter
    jobs: Jobs
    batches: Batches
    changes: Changes
    quarantine: Quarantine
    uploads: Uploads
    storage: Storage
    decoders: Executor

    def of(self, tenant: str) -> "Gateway":
        """The same for a tenant, who sees nothing of another's."""
        jobs, batches, uploads = self.jobs.of(tenant), self.batches.of(tenant), self.uploads.of(tenant)
        return replace(self, jobs=jobs, batches=batches, uploads=uploads)


_BEARER = HTTPBearer(auto_error=False, description="An API key; none is asked for where keys are off.")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _caller(
    request: Request, gateway: Annotated[Gateway, Depends(_gateway)], _: Annotated[object, Security(_BEARER)]
) -> Caller:
    """Who calls. Raises UnauthorizedError or RateLimitedError."""
    if gateway.settings.auth != "keys":
        return NOBODY
    caller = await gateway.doorkeeper.admit(request.headers.get("authorization", ""))
    await gateway.limiter.admit(caller, request.scope)
    return caller


def _as_tenant(gateway: Annotated[Gateway, Depends(_gateway)], caller: Annotated[Caller, Depends(_caller)]) -> Gateway:
    return gateway.of(caller.tenant)


def _as_operator(
    gateway: Annotated[Gateway, Depends(_gateway)], caller: Annotated[Caller, Depends(_caller)]
) -> Gateway:
    if not caller.operator:
        raise ForbiddenError("this needs the key of an operator")
    return gateway


OpenGateway = Annotated[Gateway, Depends(_gateway)]  # for what needs no key
CurrentGateway = Annotated[Gateway, Depends(_as_tenant)]
OperatorGateway = Annotated[Gateway, Depends(_as_operator)]
