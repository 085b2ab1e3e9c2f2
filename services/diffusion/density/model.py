"""Density models: what images a prompt usually gives, and how rare another one is among them."""

import hashlib
import json
import math
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save, save_file
from torch import Tensor
from torch.nn.functional import pad

from services.bounds import STRENGTH
from services.diffusion.density.calibration import Survival
from services.diffusion.density.mixture import Mixture, Subspace
from services.diffusion.density.subject import Subject, key_of
from services.diffusion.runtime.checkpoint import described

WEIGHTS, META = "density.safetensors", "density.json"
FORMAT = 2


@dataclass(frozen=True)
class DensityModel:
    """The distribution of the image embeddings that a text gives, and a start if there is one, in float64.

    Which of its words are the concept, each request says for itself. Of held-out samples: `survival` is that of d²,
    `anchors` are cosines to the prompt and `residuals` are q, both ascending, and `held_out` their projections.
    `samples` counts these and the fitted ones.
    """

    text: str
    start: Float[Tensor, "dim"] | None
    strength: float
    model_fingerprint: str
    samples: int
    seed: int
    variance_kept: float
    subspace: Subspace
    mixture: Mixture
    survival: Survival
    anchors: Float[Tensor, "held_out"]
    residuals: Float[Tensor, "held_out"]
    held_out: Float[Tensor, "held_out rank"]

    def log_prob(self, image_embeds: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """Log density of the projection, in nats; differentiable in its argument (arXiv 2601.22125, eq. 4)."""
        return self.mixture.log_prob(self.subspace.project(image_embeds))

    def d2(self, image_embeds: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """Squared Mahalanobis distance, or the mixture's likeness of it; differentiable."""
        return self.mixture.d2(self.subspace.project(image_embeds))

    def residual(self, image_embeds: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """Squared distance from the subspace; differentiable."""
        return self.subspace.residual(image_embeds)

    def coordinates(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch 2"]:
        """Where projections lie on the two leading components, in standard deviations of held-out samples there."""
        spread = self.held_out[:, :2].std(0)
        return pad(y[:, :2] / spread, (0, 2 - len(spread)))

    def baseline(self, count: int) -> list[tuple[float, float, float]]:
        """Coordinates and bits of `count` held-out samples at most: the first, which are as random as any."""
        y = self.held_out[:count]
        rows = torch.cat([self.coordinates(y), self.mixture.d2(y)[:, None]], 1).tolist()
        return [(x, y, self.bits(d2)) for x, y, d2 in rows]

    def bits(self, d2: float) -> float:
        """Surprisal −log₂ P(D² ≥ d²) among what the prompt usually gives."""
        return self.survival.bits(d2)

    def percentile(self, d2: float) -> float:
        """100 · P(D² < d²)."""
        return 100 * (1 - math.exp2(-self.bits(d2)))

    def d2_at(self, bits: float) -> float:
        """The d² of a rarity; ValueError unless it is above 0 bits and finite."""
        if not 0 < bits < math.inf:
            raise ValueError(f"a rarity must be above 0 bits and finite, got {bits}")
        return self.survival.value(2.0**-bits)

    def residual_quantiles(self, q: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The share of held-out samples whose residual is below q."""
        return torch.searchsorted(self.residuals, q).to(q.dtype) / len(self.residuals)

    def is_of(self, subject: Subject) -> bool:
        """Whether it is of the subject's text and start."""
        return key_of(self.text, self.start, self.strength) == subject.key()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole artefact."""
        return _digest(*self._parts())

    def is_named(self, fingerprint: str, subject: Subject) -> bool:
        """Whether the replay block of a picture of this subject names this density.

        There are blocks with a fingerprint of an artefact that has the concept and the prompt in the text's place.
        """
        tensors, meta = self._parts()
        worded = meta | {"concept": subject.concept, "prompt": subject.prompt}
        del worded["text"]
        return self.is_of(subject) and fingerprint in (self.fingerprint, _digest(tensors, worded))

    def to(self, device: torch.device) -> "DensityModel":
        """The same density with its tensors on `device`."""
        if self.held_out.device == device:
            return self
        tensors, meta = self._parts()
        moved = self._of({name: value.to(device) for name, value in tensors.items()}, meta)
        vars(moved)["fingerprint"] = self.fingerprint  # found out once, wherever it is used
        return moved

    def save(self, folder: Path) -> None:
        """Write density.safetensors and density.json into the folder."""
        tensors, meta = self._parts()
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / WEIGHTS)
        (folder / META).write_text(json.dumps(meta, sort_keys=True, indent=1))

    @classmethod
    def load(cls, folder: Path) -> "DensityModel":
        """Read what `save` wrote, bit for bit; CheckpointError names the folder if it is missing or corrupt."""
        with described(f"the density model in {folder}"):
            return cls._of(load_file(folder / WEIGHTS), json.loads((folder / META).read_text()))

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        meta = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {name: meta.pop(name) for name in ("anchors", "residuals", "held_out")}
        if (start := meta.pop("start")) is not None:
            tensors["start"] = start
        for part in (meta.pop("subspace"), meta.pop("mixture")):
            tensors |= vars(part)
        if meta["strength"] == STRENGTH:  # as in artefacts of before there were others, whose fingerprints stay
            del meta["strength"]
        survival = meta.pop("survival")
        tensors["distances"] = torch.from_numpy(survival.values)
        tail = {name: getattr(survival, name) for name in ("threshold", "shape", "scale")}
        return {k: v.cpu().contiguous() for k, v in tensors.items()}, meta | {"tail": tail, "format": FORMAT}

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], meta: dict[str, Any]) -> "DensityModel":
        if meta["format"] != FORMAT:
            raise ValueError(f"format {meta['format']} instead of {FORMAT}")
        own = {name: meta[name] for name in ("model_fingerprint", "samples", "seed", "variance_kept")}
        return cls(
            text=meta["text"] if "text" in meta else Subject(meta["concept"], meta["prompt"]).text,
            start=tensors.get("start"),
            strength=meta.get("strength", STRENGTH),
            subspace=Subspace(*(tensors[f.name] for f in fields(Subspace))),
            mixture=Mixture(*(tensors[f.name] for f in fields(Mixture))),
            survival=Survival(tensors["distances"].cpu().numpy(), **meta["tail"]),
            anchors=tensors["anchors"],
            residuals=tensors["residuals"],
            held_out=tensors["held_out"],
            **own,
        )


def _digest(tensors: dict[str, Tensor], meta: dict[str, Any]) -> str:
    return hashlib.sha256(save(tensors) + json.dumps(meta, sort_keys=True).encode()).hexdigest()


def density_key(model_fingerprint: str, subject: Subject, samples: int) -> str:
    """A stable name for the artefact: 32 hexadecimal digits."""
    return subject.key(FORMAT, model_fingerprint, samples)
