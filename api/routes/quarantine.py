"""The quarantine: jobs that two workers died with or that cannot be read, for operators to look at and replay."""

from fastapi import Response

from api.deps import OperatorGateway
from api.documents.resources import Job, JobList
from api.http.routing import Router
from api.problems.errors import problems
from api.routes.jobs import Cursor, JobId, Limit, answer_with

router = Router(prefix="/quarantine", tag="quarantine")


@router.get("", responses=problems(403, 422, 503))
async def list_quarantine(gateway: OperatorGateway, limit: Limit = 20, cursor: Cursor = None) -> JobList:
    """Jobs that failed as `worker_lost`, newest first, until they are replayed, erased or expired.

    `unreadable` has the ids of those whose records cannot be read.
    """
    page = await gateway.quarantine.list(before=None if cursor is None else int(cursor), limit=limit)
    return JobList.of(page, gateway.links)


@router.post("/{job_id}/replay", status_code=202, response_model=Job, responses=problems(403, 404, 429, 503))
async def replay(job_id: JobId, gateway: OperatorGateway) -> Response:
    """Queue a new job of the same request, seed and all, once; the old one leaves the quarantine and stays failed."""
    await gateway.store.require()
    return answer_with(await gateway.quarantine.replay(job_id, max_queued=gateway.settings.max_queued), gateway, 202)
