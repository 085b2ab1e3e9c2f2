"""What routes ask for, as annotated aliases: the gateway as the caller's tenant may use it."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from api.limits import RateLimiter
from api.metrics import Metrics
from services.batches import Batches
from services.changes import Changes
from services.density_models import DensityModels
from services.errors import ForbiddenError
from services.jobs import Jobs
from services.outbox import Outbox
from services.quarantine import Quarantine
from services.settings import Settings
from services.storage import Storage
from services.tenants import NOBODY, Caller, Doorkeeper
from services.uploads import Uploads


@dataclass(frozen=True)
class Gateway:
    """What lives as long as the application."""

    settings: Settings
    doorkeeper: Doorkeeper
    limiter: RateLimiter
    jobs: Jobs
    batches: Batches
    changes: Changes
    quarantine: Quarantine
    uploads: Uploads
    outbox: Outbox
    density_models: DensityModels
    storage: Storage
    decoders: Executor
    metrics: Metrics

    def of(self, tenant: str) -> "Gateway":
        """The same for a tenant, who sees nothing of another's."""
        return replace(
            self,
            jobs=self.jobs.of(tenant),
            batches=self.batches.of(tenant),
            uploads=self.uploads.of(tenant),
            outbox=self.outbox.of(tenant),
            density_models=self.density_models.of(tenant),
        )


async def _open(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _as_tenant(request: Request) -> Gateway:
    gateway = await _open(request)
    caller = await _caller(gateway, request)
    return gateway if caller is NOBODY else gateway.of(caller.tenant)


async def _as_operator(request: Request) -> Gateway:
    gateway = await _open(request)
    if not (await _caller(gateway, request)).operator:
        raise ForbiddenError("this needs the key of an operator")
    return gateway


async def _caller(gateway: Gateway, request: Request) -> Caller:
    """Who calls. Raises UnauthorizedError or RateLimitedError."""
    if gateway.settings.auth != "keys":
        return NOBODY
    caller = await gateway.doorkeeper.admit(request.headers.get("authorization", ""))
    await gateway.limiter.admit(caller, request.scope)
    return caller


# FastAPI's own security classes would do no more than document this, at the cost of a dependency for each request.
OpenGateway = Annotated[Gateway, Depends(_open)]  # for what needs no key
CurrentGateway = Annotated[Gateway, Depends(_as_tenant)]
OperatorGateway = Annotated[Gateway, Depends(_as_operator)]
