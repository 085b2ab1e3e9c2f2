"""The application: its routes, its limits, and what it holds while it runs."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.types import ASGIApp

from api.density_models import DensityModels
from api.deps import Gateway
from api.documents.links import BehindPrefix, Links
from api.events import EVENTS
from api.http.body import BodyLimit
from api.http.file_responses import Assets, HeadAsGet
from api.http.headers import SecurityHeaders
from api.http.hosts import ServedHosts
from api.http.limits import RateLimiter, RateLimitHeaders
from api.http.lingering import LingeringClose
from api.http.origins import OtherOrigins
from api.http.traced import Traced
from api.metrics import GatewayMetrics, Measured
from api.openai import PATH as OPENAI
from api.openai import routes as openai
from api.openai.errors import OpenAIError, answer_in_openai_shape, errors
from api.openai.forms import FORM_BYTES
from api.pictures import FoundThings, Uploads
from api.problems.errors import Problem, answer_with_problems, problems
from api.routes import (
    batches,
    deliveries,
    density_models,
    exposures,
    files,
    found,
    health,
    images,
    jobs,
    metrics,
    pages,
    quarantine,
    studio,
)
from api.store_check import StoreCheck
from api.webhooks import describe, secret_of
from services import __version__, tracing
from services.jobs.batches import Batches
from services.jobs.lifecycle import Jobs
from services.jobs.notifications import Notifications
from services.jobs.quarantine import Quarantine
from services.jobs.store import connect_async
from services.objects.storage import open_storage
from services.settings import Settings
from services.tenants import Doorkeeper
from services.webhooks.deliverer import Deliverer
from services.webhooks.egress import open_egress
from services.webhooks.outbox import Outbox

STORE_PATIENCE_S = 5.0  # a client waits for the answer
OPEN = {"files", "health"}  # tags of what needs no API key; a signed URL is one
DECODERS = 1  # pictures decoded at once; one at the limit of its pixels takes 0.4 GB meanwhile
_SWAGGER = ("fastapi_standalone_docs", "static/swagger")  # for its files alone: Swagger UI and its licence
_STATIC = Path(__file__).with_name("static")
_MODULES = (  # as routers of their own they would each be asked twice whether a request is theirs
    jobs,
    deliveries,
    batches,
    quarantine,
    images,
    found,
    density_models,
    exposures,
    openai,
    files,
    health,
    metrics,
    pages,
    studio,
)


class _App(FastAPI):
    """FastAPI whose outermost layer is ours: the answer to an unexpected error comes through it too."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(telemetry={"tracing": False, "metrics": False, "logs": False}, **options)
        self._settings = settings
        self.metrics = GatewayMetrics()

    def build_middleware_stack(self) -> ASGIApp:
        app, settings = super().build_middleware_stack(), self._settings
        if settings.cors_origins:
            app = OtherOrigins(app, settings.cors_origins)
        app = SecurityHeaders(ServedHosts(app, settings), settings)
        app = HeadAsGet(Measured(Traced(LingeringClose(app)), self.metrics))
        return BehindPrefix(app, settings.prefix) if settings.prefix else app


def create_app(settings: Settings) -> FastAPI:
    """The gateway over the Redis and the store that `settings` name; neither needs to be there when it starts."""
    app = _App(
        settings,
        title="Rarebit",
        version=__version__,
        summary="Images rarer than their concept's plain samples, as jobs.",
        lifespan=partial(_lifespan, settings=settings),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        webhooks=deliveries.calls,
        routes=[route for module in _MODULES for route in module.router.routes],
    )
    of_pictures = {images.PATH: 0, found.FILES: 0, openai.VARIATIONS: FORM_BYTES}  # and what comes beside one
    exceptions = {path: settings.picture_limit_bytes + more for path, more in of_pictures.items()}
    app.add_middleware(BodyLimit, limit_bytes=settings.body_limit_bytes, exceptions=exceptions)
    if settings.auth == "keys":
        app.add_middleware(RateLimitHeaders)
    answer_with_problems(app, {OPENAI: answer_in_openai_shape})
    app.mount("/static/swagger", Assets(packages=[_SWAGGER]))
    app.mount("/static", Assets(directory=_STATIC))
    app.mount("/studio", Assets(directory=studio.FOLDER))
    app.openapi = partial(_openapi, app, prefix=settings.prefix, keys=settings.auth == "keys")  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: _App, settings: Settings) -> AsyncIterator[None]:
    client = connect_async(settings.redis_url)
    notifications = Notifications(client)
    storage = open_storage(settings, STORE_PATIENCE_S)
    with ThreadPoolExecutor(DECODERS, "decoder") as decoders:
        app.state.gateway = gateway = Gateway(
            settings=settings,
            doorkeeper=Doorkeeper(client),
            limiter=RateLimiter(client),
            jobs=Jobs(client),
            batches=Batches(client),
            notifications=notifications,
            quarantine=Quarantine(client),
            uploads=Uploads(client),
            found=FoundThings(client),
            outbox=Outbox(client),
            density_models=DensityModels(client),
            storage=storage,
            store=StoreCheck(storage),
            links=Links(settings.prefix, storage, settings.url_ttl_s),
            decoders=decoders,
            metrics=app.metrics,
        )
        _collect_rarely()
        async with open_egress(settings.webhook_networks) as egress, notifications.listening():
            deliverer = Deliverer(gateway.outbox, egress, partial(describe, gateway), partial(secret_of, settings))
            async with deliverer.delivering(notifications):
                yield
    await client.aclose()
    await asyncio.to_thread(tracing.close)


def _collect_rarely() -> None:
    """What was made until now stays, and requests leave few cycles: looking for them would take a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def _openapi(app: FastAPI, *, prefix: str, keys: bool) -> dict[str, Any]:
    """FastAPI's document as it holds here.

    Our problem stands in place of its own validation error, which no route answers with; `keys` says whether any are
    asked for, and with them come answers of their own.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            servers=[{"url": prefix or "/"}],
            license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        )
        paths = [*document["paths"].values(), *document["webhooks"].values()]
        for operation in (operation for path in paths for operation in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        models: list[type[BaseModel]] = [Problem, OpenAIError, *EVENTS.values()]
        for model in models:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        document["security"] = []
        if keys:
            _document_keys(document)
        app.openapi_schema = document
    return app.openapi_schema


def _document_keys(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        if OPEN.isdisjoint(operation["tags"]):
            answers = errors if "openai" in operation["tags"] else problems
            operation["security"] = [{"key": []}]
            operation["responses"] |= {str(status): answer for status, answer in answers(401, 429, 503).items()}
