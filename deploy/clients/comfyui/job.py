"""A job of the service at RAREBIT_URL, with the key RAREBIT_API_KEY, as ComfyUI waits for one of its nodes."""

import asyncio
import re

import comfy.model_management
import comfy.utils
from torch import Tensor

from rarebit_client import AsyncClient, Image, JobOptions
from rarebit_client.documents import Preview, WatchedProgress
from rarebit_client.options import Direction

from .pictures import sheet_of, tensor_of

_OUTPUT = re.compile("[0-9a-f]{32}/[0-9]{1,2}")
_POLL_S = 0.2
_SHEET_PIXELS = 512
_SHARES = {"load": (0, 5), "fit": (5, 20), "optimize": (20, 80), "decode": (80, 95), "upload": (95, 100)}  # percent


async def make(concept: str, options: JobOptions, *, avoid: str, toward: str) -> tuple[Tensor, str]:
    """The pictures, [batch, height, width, 3] of 0 to 1, and the job that made them as JSON.

    ComfyUI's own exception when its user cancels, which cancels the job; RarebitError for what the service refuses.
    """
    wishes: JobOptions = {"avoid": _directions(avoid), "toward": _directions(toward)}
    async with AsyncClient() as client:
        images = await _generate(client, concept, {**options, **wishes})
    return tensor_of([image.pil() for image in images]), images[0].job.model_dump_json()


async def _generate(client: AsyncClient, concept: str, options: JobOptions) -> list[Image]:
    """Its progress is the node's, on one bar that never goes back; checks come in between and do not move it."""
    bar = comfy.utils.ProgressBar(100)

    def move(progress: WatchedProgress) -> None:
        begin, end = _SHARES.get(progress.phase, (0, 0))
        percent = begin + (end - begin) * progress.step / progress.steps
        bar.update_absolute(max(bar.current, round(percent)))

    def show(preview: Preview) -> None:
        bar.update_absolute(bar.current, preview=("JPEG", sheet_of(preview), _SHEET_PIXELS))

    making = asyncio.create_task(client.generate(concept, on_progress=move, on_preview=show, **options))
    try:
        while not making.done():
            comfy.model_management.throw_exception_if_processing_interrupted()
            await asyncio.wait({making}, timeout=_POLL_S)
    finally:
        making.cancel()
        await asyncio.wait({making})  # for the job to be cancelled
    return making.result()


def _directions(wishes: str) -> list[Direction]:
    """One a line."""
    lines = filter(None, map(str.strip, wishes.splitlines()))
    return [{"output": line} if _OUTPUT.fullmatch(line) else line for line in lines]
