"""What routes ask for, as annotated aliases."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated

import redis.asyncio
from fastapi import Depends, Request

from services.changes import Changes
from services.jobs import Jobs
from services.quarantine import Quarantine
from services.settings import Settings
from services.storage import Storage
from services.uploads import Uploads


@dataclass(frozen=True)
class Gateway:
    """What lives as long as the application."""

    settings: Settings
    redis: redis.asyncio.Redis
    jobs: Jobs
    changes: Changes
    quarantine: Quarantine
    uploads: Uploads
    storage: Storage
    decoders: Executor


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


CurrentGateway = Annotated[Gateway, Depends(_gateway)]
