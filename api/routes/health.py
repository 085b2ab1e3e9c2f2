"""Probes: is the process alive, and can it do its work."""

import asyncio

from pydantic import BaseModel

from api.deps import OpenGateway
from api.http.routing import Router
from api.problems.errors import problems

router = Router(prefix="/health", tag="health")


class Health(BaseModel):
    """All is well; what is not well answers with a problem."""

    status: str = "ok"


@router.get("/live")
async def live() -> Health:
    """The process answers."""
    return Health()


@router.get("/ready", responses=problems(503))
async def ready(gateway: OpenGateway) -> Health:
    """Redis answers, and objects can be stored."""
    await gateway.jobs.check()
    await asyncio.to_thread(gateway.storage.check)
    return Health()
