"""What a caller decides, and its copy in JSON, from which the same pictures come again."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from services.bounds import STRENGTH
from services.diffusion.density.subject import Subject
from services.diffusion.steering.belief import Belief
from services.diffusion.steering.clusters import Cluster, Steering
from services.sizes import Rectangle, Size


@dataclass(frozen=True)
class GenerationConfig:
    """What a caller decides beside subject and steering; None leaves it to the mode or to the model.

    With a `ladder` of bits, ascending, each of `count` trials leaves a picture at every rung; `target_bits` is the
    last, and `steps` are those to each rung. `found_strength` is as `Found.sample` takes it.
    """

    target_bits: float
    seed: int
    count: int = 1
    mode: Literal["calibrated", "paper"] = "calibrated"
    space: Sequence[str] = ("lora",)
    steps: int = 50
    trials: int | None = None
    size: Size | None = None
    decoder_steps: int | None = None
    guidance_scale: float | None = None
    variety: float = 0.0
    ladder: Sequence[float] = ()
    found_strength: float | None = None


OF_BEFORE: dict[str, Any] = {  # in blocks that know none of them
    "variety": 0.0,
    "ladder": [],
    "strength": STRENGTH,
    "found_strength": None,
}


def to_json(config: GenerationConfig, subject: Subject, steering: Steering) -> dict[str, Any]:
    """Plain JSON; arrays are base64 of little-endian float32, which holds them exactly."""
    belief = steering.belief
    return asdict(config) | {
        "space": list(config.space),
        "ladder": list(config.ladder),
        "concept": subject.concept,
        "prompt": subject.prompt,
        "start": None if subject.start is None else _encode(subject.start),
        "strength": subject.strength,
        "avoid": [[_encode(c.mean), _encode(c.variance), c.weight] for c in steering.avoid],
        "toward": [[_encode(c.mean), _encode(c.variance), c.weight] for c in steering.toward],
        "belief": belief and [_encode(belief.mean), _encode(belief.factor), belief.freedom],
    }


def from_json(document: dict[str, Any]) -> tuple[GenerationConfig, Subject, Steering]:
    """What `to_json` wrote, the same to the last bit; KeyError, TypeError or ValueError for anything else."""
    document = OF_BEFORE | document
    given = {name: document[name] for name in GenerationConfig.__dataclass_fields__}
    size = Rectangle(**document["size"]) if isinstance(document["size"], dict) else document["size"]
    config = GenerationConfig(**given | {"ladder": tuple(document["ladder"]), "size": size})
    start = document["start"] and _decode(document["start"]).float()
    avoid, toward = (
        tuple(Cluster(_decode(mean), _decode(variance), weight) for mean, variance, weight in document[name])
        for name in ("avoid", "toward")
    )
    belief = document["belief"] and _belief(*document["belief"])
    subject = Subject(document["concept"], document["prompt"], start, document["strength"])
    return config, subject, Steering(avoid, toward, belief)


def _belief(mean: str, factor: str, freedom: float) -> Belief:
    center = _decode(mean)
    return Belief(center, _decode(factor).view(len(center), -1), freedom)


def _encode(values: Tensor) -> str:
    return base64.b64encode(values.cpu().numpy().astype("<f4").tobytes()).decode()


def _decode(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64))
