"""Pictures that are not square, of a model that is made for squares: how many are still of the concept."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from statistics import fmean

from PIL import Image, ImageOps

from deploy.evaluate.case import Sample
from deploy.evaluate.reference import plain_reference
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.trials import MIN_VALIDITY
from services.sizes import Rectangle, Size
from tests.benchmarks import setup

CONCEPTS, COUNT, SEED = ("handbag", "chair", "cup"), 4, 5000
SIZES: tuple[Size, ...] = (256, Rectangle(384, 256), Rectangle(256, 384), Rectangle(320, 192))


@cache
def sample(concept: str) -> Sample:
    return plain_reference(setup.models().model, concept, COUNT, SEED, setup.progress)


def drawn(concept: str, size: Size) -> list[Image.Image]:
    """The same embeddings and seeds at every size."""
    decoder, seeds = setup.models().model.decoder, list(range(SEED, SEED + COUNT))
    settings = replace(decoder.defaults, size=size)
    return decoder.decode(sample(concept).image_embeds, noise_of(seeds), settings, lambda _step, _steps: None)


def middle(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, (min(image.size), min(image.size)))


def row(size: Size) -> str:
    checker, whole, cropped = setup.models().checker, [], []
    for concept in CONCEPTS:
        images = drawn(concept, size)
        whole += checker.p_valid(images, concept).tolist()
        cropped += checker.p_valid([middle(image) for image in images], concept).tolist()
    valid = sum(p >= MIN_VALIDITY for p in whole)
    return f"| {size} | {fmean(whole):.2f} | {valid} of {len(whole)} | {fmean(cropped):.2f} |"


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| size | mean validity | valid | mean validity of the middle |\n|---|---|---|---|"
    yield from map(row, SIZES)
