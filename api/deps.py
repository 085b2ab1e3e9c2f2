"""What routes ask for, as annotated aliases: the gateway as the caller's tenant may use it."""

import asyncio
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError

from api.density_models import DensityModels
from api.documents.links import Links
from api.http.limits import WHOLE_BATCH, RateLimiter, batch_cost, page_cost
from api.metrics import GatewayMetrics
from api.pictures import FoundThings, Uploads
from api.store_check import StoreCheck
from services.errors import ForbiddenError, StorageError
from services.jobs.batches import Batches
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Notifications
from services.jobs.quarantine import Quarantine
from services.logs import tell_about
from services.objects.storage import Storage
from services.settings import Settings
from services.tenants import NOBODY, Caller, Doorkeeper
from services.webhooks.outbox import Outbox


@dataclass(frozen=True)
class Gateway:
    """What lives as long as the application."""

    settings: Settings
    doorkeeper: Doorkeeper
    limiter: RateLimiter
    jobs: Jobs
    batches: Batches
    notifications: Notifications
    quarantine: Quarantine
    uploads: Uploads
    found: FoundThings
    outbox: Outbox
    density_models: DensityModels
    storage: Storage
    store: StoreCheck
    links: Links
    decoders: Executor
    metrics: GatewayMetrics

    async def erase(self, prefix: str) -> None:
        """Erase at once what is planned to be erased; where the store is away, that is left to the workers."""
        with suppress(StorageError):
            await asyncio.to_thread(self.storage.delete, prefix)

    def of(self, tenant: str) -> "Gateway":
        """The same for a tenant, who sees nothing of another's."""
        return replace(
            self,
            jobs=self.jobs.of(tenant),
            batches=self.batches.of(tenant),
            uploads=self.uploads.of(tenant),
            found=self.found.of(tenant),
            outbox=self.outbox.of(tenant),
            density_models=self.density_models.of(tenant),
        )


async def _open(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    tell_about(job=request.path_params.get("job_id"))
    return gateway


async def _as_tenant(request: Request) -> Gateway:
    return await _admit(request, 1)


async def _for_page(request: Request) -> Gateway:
    return await _admit(request, page_cost(request))


async def _for_whole_batch(request: Request) -> Gateway:
    return await _admit(request, WHOLE_BATCH)


async def _for_new_batch(request: Request) -> Gateway:
    gateway, jobs = await _open(request), await batch_cost(request)
    caller = await _caller(gateway, request)
    if (rate := caller.limits.rate) is None or jobs <= rate:
        return await _count(gateway, caller, request, jobs)
    await _count(gateway, caller, request, 1)
    detail = f"has {jobs} jobs, each of which counts as a request, and you may send {rate} requests a minute"
    asked = "sweep" if (await request.json()).get("sweep") else "jobs"
    raise RequestValidationError([{"loc": ("body", asked), "msg": detail}])


async def _as_operator(request: Request) -> Gateway:
    gateway = await _open(request)
    caller = await _caller(gateway, request)
    await _count(gateway, caller, request, 1)
    if not caller.operator:
        raise ForbiddenError("this needs the key of an operator")
    return gateway


async def _admit(request: Request, cost: int) -> Gateway:
    gateway = await _open(request)
    return await _count(gateway, await _caller(gateway, request), request, cost)


async def _caller(gateway: Gateway, request: Request) -> Caller:
    """Who calls. Raises UnauthorizedError."""
    if gateway.settings.auth != "keys":
        return NOBODY
    caller = await gateway.doorkeeper.admit(request.headers.get("authorization", ""))
    tell_about(tenant=caller.tenant)
    return caller


async def _count(gateway: Gateway, caller: Caller, request: Request, cost: int) -> Gateway:
    """The gateway as the caller may use it, who has sent `cost` requests more. Raises RateLimitedError."""
    await gateway.limiter.admit(caller, request.scope, cost)
    return gateway if caller is NOBODY else gateway.of(caller.tenant)


# FastAPI's own security classes would do no more than document this, at the cost of a dependency for each request.
OpenGateway = Annotated[Gateway, Depends(_open)]  # for what needs no key
CurrentGateway = Annotated[Gateway, Depends(_as_tenant)]
PageGateway = Annotated[Gateway, Depends(_for_page)]
BatchGateway = Annotated[Gateway, Depends(_for_whole_batch)]
NewBatchGateway = Annotated[Gateway, Depends(_for_new_batch)]
OperatorGateway = Annotated[Gateway, Depends(_as_operator)]
