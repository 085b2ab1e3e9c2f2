"""The embedded checkpoint, and its densities, which are kept in data/bench."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from services.diffusion.density import DensityModel, density_key
from services.diffusion.fit import fit_density
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.validity import OpenClipChecker

CHECKPOINT = Path(__file__).parents[2] / "deploy/checkpoints/rarebit-mini"
DENSITIES = Path("data/bench")
PROMPT = "Professional high-quality photo of a {}. photorealistic, 4k, HQ."
SAMPLES = 5000


def progress(phase: str, step: int, steps: int, bits: float | None) -> None:
    """One line on stderr that overwrites itself."""
    print(f"\r{phase} {step}/{steps} {'' if bits is None else f'{bits:.1f} bits'}   ", end="", file=sys.stderr)


@dataclass(frozen=True)
class Bench:
    model: Kandinsky
    checker: OpenClipChecker

    @classmethod
    def load(cls) -> "Bench":
        prior, decoder, scorer = (str(CHECKPOINT / part) for part in ("prior", "decoder", "scorer"))
        model = Kandinsky.load(prior, decoder, device="cpu", dtype=torch.float32)
        return cls(model, OpenClipChecker.load(scorer, device="cpu"))

    def density(self, concept: str) -> DensityModel:
        """The concept's density, fitted unless it was before."""
        text = PROMPT.replace("{}", concept)
        folder = DENSITIES / density_key(self.model.fingerprint, text, SAMPLES)
        if not folder.exists():
            fitted = fit_density(self.model, concept=concept, prompt=PROMPT, samples=SAMPLES, seed=0, report=progress)
            fitted.save(folder)
        return DensityModel.load(folder)
