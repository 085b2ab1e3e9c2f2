"""What a method is given and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.runtime.batching import PICTURES


@dataclass(frozen=True)
class Case:
    """What a method has to work with: the frozen parts, a subject with its density, and what is asked for."""

    model: Kandinsky
    checker: OpenClipChecker
    subject: Subject
    density: DensityModel
    target_bits: float
    steps: int
    published_steps: int
    report: Report


@dataclass(frozen=True)
class Sample:
    """Pictures with the embeddings that they were decoded from; `seeds` are those of the decoder's noise."""

    images: list[Image.Image]
    image_embeds: Float[Tensor, "images dim"]
    seeds: list[int]


Method = Callable[[Case, int, int], Sample]
"""(case, count, seed) → `count` pictures; two seeds that are 1,000 apart share no noise."""


def draw(model: Kandinsky, text: str, count: int, seed: int, report: Report) -> Sample:
    """`count` pictures of one prompt, as `services.diffusion.generate.sample_plain` draws them but unchecked."""
    return draw_encoded(model, model.encode_prompt(text), count, seed, report)


@torch.no_grad()
def draw_encoded(model: Kandinsky, encoding: Encoding, count: int, seed: int, report: Report) -> Sample:
    """The same for what is encoded already: one row for all pictures, or one for each."""
    noise = noise_of([seed + i for i in range(count)])
    return decoded(model, model.sample_prior(encoding, noise, count, cached=True), seed, report)


def decoded(model: Kandinsky, image_embeds: Float[Tensor, "images dim"], seed: int, report: Report) -> Sample:
    """The embeddings' pictures, row i from the noise of seed + i."""
    settings = model.decoder.settings(None, None, None)
    seeds = [seed + i for i in range(len(image_embeds))]
    images: list[Image.Image] = []
    for start in range(0, len(seeds), PICTURES):
        report("decode", start, len(seeds), None)
        rows = slice(start, start + PICTURES)
        images += model.decoder.decode(image_embeds[rows], noise_of(seeds[rows]), settings, lambda *_: None)
    return Sample(images, image_embeds, seeds)
