"""The back end of a design tool's plug-in, which is called when its pictures are there: `uvicorn webhooks:app`."""

import os
from contextlib import suppress
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from rarebit_client import AsyncClient, Expired, Image, JobCanceled, JobFailed

app = FastAPI()
signed = Webhook(os.environ["RAREBIT_WEBHOOK_SECRET"])
boards: dict[str, dict[str, Image]] = {}  # a table in yours
failures: dict[str, list[str]] = {}


@app.post("/boards/{board}/ideas", status_code=202)
async def ask(board: str, concept: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """What the plug-in calls: the job is queued, and nobody waits for it."""
    hook = f"{os.environ['OWN_URL']}/hooks/rarebit"  # as the service reaches this back end
    async with AsyncClient() as rarebit:  # RAREBIT_URL, RAREBIT_API_KEY
        job = await rarebit.submit(
            concept, count=4, rarity={"bits": 10}, metadata={"board": board}, webhook={"url": hook}
        )
    return {"job": job.id}


@app.post("/hooks/rarebit", status_code=204)
async def hear(request: Request) -> None:
    """What the service calls, and again if the answer is no 2xx: so the pictures are fetched before it is given."""
    try:
        event = signed.verify(await request.body(), dict(request.headers))
    except (WebhookVerificationError, ValueError) as error:
        raise HTTPException(401, "this is not signed by Rarebit") from error
    with suppress(Expired):  # the call comes days late
        await take(event["data"]["id"])


async def take(job_id: str) -> None:
    """Put the job's pictures on its board, where a second call changes nothing."""
    async with AsyncClient() as rarebit:
        job = await rarebit.get(job_id)
        try:
            images = await rarebit.images(job)
            boards.setdefault(job.metadata["board"], {}).update({image.ref: image for image in images})
        except (JobFailed, JobCanceled) as ended:
            failures.setdefault(job.metadata["board"], []).append(str(ended))


@app.get("/boards/{board}")
async def look(board: str) -> dict[str, object]:
    """What the plug-in shows: each picture by the reference that other jobs can start from, and what went wrong."""
    pictures = [{"ref": ref, "bits": image.bits} for ref, image in boards.get(board, {}).items()]
    return {"pictures": pictures, "failures": failures.get(board, [])}


@app.get("/boards/{board}/{job_id}/{index}")
async def place(board: str, job_id: str, index: int) -> Response:
    """The picture itself, for the canvas."""
    if (image := boards.get(board, {}).get(f"{job_id}/{index}")) is None:
        raise HTTPException(404, "there is no such picture")
    return Response(image.content, media_type=image.output.media_type)
