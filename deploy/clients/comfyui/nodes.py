"""The nodes: each is one job of a running Rarebit service."""

from typing import Any

from torch import Tensor

from rarebit_client.options import JobOptions, Start

from .job import make
from .pictures import png_of

Input = tuple[str, dict[str, Any]]
Inputs = dict[str, dict[str, Input]]

_CONCEPT = ("STRING", {"default": "handbag", "tooltip": "A noun phrase"})
_COUNT = ("INT", {"default": 4, "min": 1, "max": 16, "tooltip": "Pictures wanted"})
_COLUMNS = ("INT", {"default": 1, "min": 1, "max": 8, "tooltip": "Designs, each a picture at every rung; 16 in all"})
_BITS = ("FLOAT", {"default": 10.0, "min": 1.0, "max": 30.0, "step": 0.5, "tooltip": "10: one plain sample in 1,024"})
_LADDER = ("STRING", {"default": "2, 5, 10, 15, 20", "tooltip": "Bits of its rungs, from the lowest up"})
_IMAGE = ("IMAGE", {"tooltip": "One picture"})
_STRENGTH = ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": "How far from the picture"})
_SEED = ("INT", {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True})
_WISHES = ("STRING", {"default": "", "multiline": True, "tooltip": "Words, or outputs as JOB_ID/INDEX, one a line"})
_STEERING = {"avoid": _WISHES, "toward": _WISHES}


class Node:
    """The pictures, [batch, height, width, 3] of 0 to 1, and the job that made them as JSON.

    What the service refuses is raised in its own words, which ComfyUI shows at the node.
    """

    CATEGORY = "Rarebit"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("images", "job")


class RarebitGenerate(Node):
    """Pictures of a concept that are rarer than what an image model usually gives for it."""

    DESCRIPTION = __doc__

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {"concept": _CONCEPT, "count": _COUNT, "bits": _BITS, "seed": _SEED},
            "optional": _STEERING,
        }

    async def run(
        self, concept: str, count: int, bits: float, seed: int, avoid: str = "", toward: str = ""
    ) -> tuple[Tensor, str]:
        options: JobOptions = {"count": count, "rarity": {"bits": bits}, "seed": seed}
        return await make(concept, options, avoid=avoid, toward=toward)


class RarebitLadder(Node):
    """The same designs at each rung of a ladder of bits: one sees how a thing becomes rarer."""

    DESCRIPTION = __doc__

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {"concept": _CONCEPT, "count": _COLUMNS, "ladder": _LADDER, "seed": _SEED},
            "optional": _STEERING,
        }

    async def run(
        self, concept: str, count: int, ladder: str, seed: int, avoid: str = "", toward: str = ""
    ) -> tuple[Tensor, str]:
        options: JobOptions = {"count": count, "rarity": {"ladder": _rungs(ladder)}, "seed": seed}
        return await make(concept, options, avoid=avoid, toward=toward)


class RarebitVary(Node):
    """Rare variations of a picture, whose concept has to be named."""

    DESCRIPTION = __doc__

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        start: dict[str, Input] = {"image": _IMAGE, "strength": _STRENGTH}
        return {
            "required": {"concept": _CONCEPT, **start, "count": _COUNT, "bits": _BITS, "seed": _SEED},
            "optional": _STEERING,
        }

    async def run(
        self,
        concept: str,
        image: Tensor,
        strength: float,
        count: int,
        bits: float,
        seed: int,
        avoid: str = "",
        toward: str = "",
    ) -> tuple[Tensor, str]:
        start: Start = {"upload": png_of(image), "strength": strength}
        options: JobOptions = {"image": start, "count": count, "rarity": {"bits": bits}, "seed": seed}
        return await make(concept, options, avoid=avoid, toward=toward)


def _rungs(ladder: str) -> list[float]:
    try:
        return [float(bits) for bits in ladder.split(",")]
    except ValueError as error:
        raise ValueError(f"ladder: {ladder!r} is no list of bits, such as 2, 5, 10") from error
