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
_PARTS = {"load": 0.05, "fit": 0.2, "optimize": 0.6, "check": 0.05, "decode": 0.2, "upload": 0.9}


async def make(concept: str, options: JobOptions, *, avoid: str, toward: str) -> tuple[Tensor, str]:
    """The pictures, [batch, height, width, 3] of 0 to 1, and the job that made them as JSON.

    ComfyUI's own exception when its user cancels, which cancels the job; RarebitError for what the service refuses.
    """
    wishes: JobOptions = {"avoid": _directions(avoid), "toward": _directions(toward)}
    async with AsyncClient() as client:
        images = await _generate(client, concept, {**options, **wishes})
    return tensor_of([image.pil() for image in images]), images[0].job.model_dump_json()


async def _generate(client: AsyncClient, concept: str, options: JobOptions) -> list[Image]:
    bar = Bar()
    making = asyncio.create_task(client.generate(concept, on_progress=bar.move, on_preview=bar.show, **options))
    try:
        while not making.done():
            comfy.model_management.throw_exception_if_processing_interrupted()
            await asyncio.wait({making}, timeout=_POLL_S)
    finally:
        making.cancel()
        await asyncio.wait({making})  # for the job to be cancelled
    return making.result()


class Bar:
    """The node's: each phase takes its part of what is left, since checks and decodes may come between steps."""

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(100)
        self._phase, self._percent, self._step = "", 0, 0

    def move(self, progress: WatchedProgress) -> None:
        if progress.phase != self._phase:
            self._phase, self._percent, self._step = progress.phase, self._bar.current, progress.step
        done = (progress.step - self._step) / max(1, progress.steps - self._step)
        percent = self._percent + (100 - self._percent) * _PARTS.get(progress.phase, 0) * done
        self._bar.update_absolute(max(self._bar.current, round(percent)))

    def show(self, preview: Preview) -> None:
        self._bar.update_absolute(self._bar.current, preview=("JPEG", sheet_of(preview), _SHEET_PIXELS))


def _directions(wishes: str) -> list[Direction]:
    """One a line."""
    lines = filter(None, map(str.strip, wishes.splitlines()))
    return [{"output": line} if _OUTPUT.fullmatch(line) else line for line in lines]
