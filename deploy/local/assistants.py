"""`rarebit mcp`: what assistants ask of a running service, by the Model Context Protocol over stdin and stdout."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import Field

from rarebit_client import AsyncClient, Image, RarebitError
from rarebit_client.documents import WatchedProgress
from rarebit_client.options import Direction, JobOptions, Start
from services import __version__
from services.bounds import OUTPUTS

_OUTPUT = re.compile("[0-9a-f]{32}/[0-9]{1,2}")
_TOLD = {"id", "status", "concept", "warnings", "error", "queue", "progress"}

Concept = Annotated[str, Field(description="A noun phrase, as: handbag")]
Count = Annotated[int, Field(ge=1, le=OUTPUTS, description="Images wanted")]
Bits = Annotated[float, Field(ge=1, le=30, description="How rare: 10 bits are one plain sample in 1,024")]
Wishes = Annotated[list[str] | None, Field(max_length=8, description="Words, or outputs as JOB_ID/INDEX")]
Model = Annotated[str | None, Field(description="As the service names it; null: its default")]
Seed = Annotated[int | None, Field(ge=0, description="To have the same again; null draws one")]
Found = Annotated[str, Field(pattern=f"^{_OUTPUT.pattern}$", description="An output as JOB_ID/INDEX")]
Sentence = Annotated[str | None, Field(description="With {} for the concept, as: a photo of a {} on a beach")]
Strength = Annotated[float | None, Field(ge=0, le=1, description="How much of what was found counts; null balances")]
Picture = Annotated[str, Field(description="An output as JOB_ID/INDEX, or the path of a PNG, JPEG or WebP file")]


class Tools:
    """The tools, over the client's service; what that refuses is told to the assistant in its own words."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def generate(
        self,
        concept: Concept,
        ctx: Context[Any],
        count: Count = 1,
        bits: Bits = 10,
        avoid: Wishes = None,
        toward: Wishes = None,
        seed: Seed = None,
        model: Model = None,
    ) -> CallToolResult:
        """Make pictures of a concept that are rarer than what an image model usually gives for it.

        Answers with the pictures and, for each, its reference for further calls, its rarity in bits, and its validity:
        how surely it still shows the concept, from 0 to 1, null where the judge does not know.
        """
        return await self._make(concept, ctx, _options(model, count, seed, bits, avoid, toward))

    async def vary(
        self,
        picture: Picture,
        concept: Concept,
        ctx: Context[Any],
        count: Count = 1,
        bits: Bits = 6,
        avoid: Wishes = None,
        toward: Wishes = None,
        seed: Seed = None,
        model: Model = None,
    ) -> CallToolResult:
        """Make rare variations of a picture, whose concept has to be named; answers as generate does."""
        image: Path | Start = {"output": picture} if _OUTPUT.fullmatch(picture) else Path(picture).expanduser()
        return await self._make(concept, ctx, {"image": image, **_options(model, count, seed, bits, avoid, toward)})

    async def draw_again(
        self,
        picture: Found,
        concept: Concept,
        ctx: Context[Any],
        prompt: Sentence = None,
        count: Count = 1,
        strength: Strength = None,
        seed: Seed = None,
        model: Model = None,
    ) -> CallToolResult:
        """Draw what an earlier picture shows again: the same thing in another sentence, or in other drawings; its
        concept has to be named. Answers as generate does."""
        options: JobOptions = {"found": {"output": picture, "strength": strength}, "count": count, "seed": seed}
        sentence: JobOptions = {"prompt": prompt} if prompt else {}
        return await self._make(concept, ctx, {**options, **sentence, "model": model, "format": "webp"})

    async def job_status(self, job_id: str) -> dict[str, Any]:
        """Where a job stands: queued with its place, running with its progress, or how it ended."""
        try:
            return (await self._client.get(job_id)).model_dump(mode="json", include=_TOLD)
        except RarebitError as error:
            raise ToolError(str(error)) from error

    async def _make(self, concept: str, ctx: Context[Any], options: JobOptions) -> CallToolResult:
        telling: list[asyncio.Task[None]] = []

        def tell(progress: WatchedProgress) -> None:
            """The protocol has progress grow, and a run's phases begin anew: what grows is how often it was told."""
            said = f"{progress.phase}: {progress.step} of {progress.steps}"
            telling.append(asyncio.create_task(ctx.report_progress(len(telling) + 1, message=said)))

        try:
            images = await self._client.generate(concept, on_progress=tell, **options)
        except (RarebitError, OSError) as error:
            raise ToolError(str(error)) from error
        finally:
            await asyncio.gather(*telling, return_exceptions=True)
        return _told(images)


def serve(url: str | None) -> None:
    """Answer an assistant until it closes the line; the service is that at `url` or RAREBIT_URL."""
    asyncio.run(_serve(url))


async def _serve(url: str | None) -> None:
    async with AsyncClient(url) as client:
        server, tools = MCPServer("rarebit", version=__version__), Tools(client)
        for tool in (tools.generate, tools.vary, tools.draw_again, tools.job_status):
            server.add_tool(tool)
        await server.run_stdio_async()


def _options(
    model: str | None, count: int, seed: int | None, bits: float, avoid: list[str] | None, toward: list[str] | None
) -> JobOptions:
    """WebP, of which an assistant's memory holds more than of PNG."""
    return {
        "model": model,
        "count": count,
        "seed": seed,
        "rarity": {"bits": bits},
        "avoid": _directions(avoid or []),
        "toward": _directions(toward or []),
        "format": "webp",
    }


def _directions(wishes: list[str]) -> list[Direction]:
    return [{"output": wish} if _OUTPUT.fullmatch(wish) else wish for wish in wishes]


def _told(images: list[Image]) -> CallToolResult:
    """Each picture, and the figures of all, for programs and, as text, for the model."""
    job = images[0].job
    figures = [{"output": i.ref, "seed": i.seed, "bits": round(i.bits, 2), "validity": i.validity} for i in images]
    told = {"job": job.id, "images": figures, "warnings": job.warnings}
    content: list[ContentBlock] = [TextContent(type="text", text=json.dumps(told))]
    for image in images:
        data = base64.b64encode(image.content).decode()
        content.append(ImageContent(type="image", data=data, mime_type=image.output.media_type))
    return CallToolResult(content=content, structured_content=told)
