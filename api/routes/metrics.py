"""Metrics, for Prometheus to fetch."""

import asyncio
import logging

from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from redis.exceptions import RedisError

from api.deps import Gateway, OperatorGateway
from api.http.routing import Router
from api.problems.errors import problems
from services.jobs.answers import Stats

PATIENCE_S = 2.0  # for Redis: Prometheus waits ten seconds at most
logger = logging.getLogger(__name__)

router = Router(tag="metrics")


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(403))
async def read_metrics(gateway: OperatorGateway) -> PlainTextResponse:
    """What this gateway counts and, while Redis answers, the job store's figures, in Prometheus' text format."""
    text = gateway.metrics.text(await _stats(gateway), gateway.settings.models)
    return PlainTextResponse(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _stats(gateway: Gateway) -> Stats | None:
    try:
        return await asyncio.wait_for(gateway.jobs.stats(), PATIENCE_S)
    except (RedisError, TimeoutError) as error:
        logger.warning("metrics without the job store's: %s", error or "it does not answer")
        return None
