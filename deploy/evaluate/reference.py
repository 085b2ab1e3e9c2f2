"""Pictures that are not evaluated: what the judge learns its concepts from, and what plain is for the other metrics."""

from collections.abc import Callable

from deploy.evaluate.case import Sample, draw, draw_encoded
from deploy.evaluate.units import Unit
from services.diffusion.density.fit import Report
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.model import Kandinsky
from services.texts.concepts import DEFAULT_PROMPT

CONCEPTS = ("handbag", "backpack", "sofa", "chair", "lamp", "table", "teapot", "vase", "clock", "cup", "car", "shoe")
COLOURS = ("red", "blue", "green", "yellow", "white", "black")
WORDS = (*COLOURS, "wooden", "glass", "metal", "small", "round", "tall", "old", "modern", "striped", "soft")
SEED = 1_000_000  # far from any group's

DrawReference = Callable[[Kandinsky, str, int, int, Report], Sample]


def plain_reference(model: Kandinsky, concept: str, count: int, seed: int, report: Report) -> Sample:
    """Plain samples."""
    return draw(model, DEFAULT_PROMPT.replace("{}", concept), count, seed, report)


def described_reference(model: Kandinsky, concept: str, count: int, seed: int, report: Report) -> Sample:
    """Samples of "a red …", "a wooden …" and so on, so that the judge does not take unusual for something else."""
    phrases = [f"{WORDS[i % len(WORDS)]} {concept}" for i in range(count)]
    encoding = Encoding.cat([model.encode_prompt(DEFAULT_PROMPT.replace("{}", phrase)) for phrase in phrases])
    return draw_encoded(model, encoding, count, seed, report)


REFERENCES: dict[str, DrawReference] = {"plain-reference": plain_reference, "described-reference": described_reference}


def reference_units(concept: str, count: int) -> list[Unit]:
    """`count` of either kind, from seeds that the other does not have; the plain ones come first."""
    return [Unit(method, concept, SEED * (1 + i), count) for i, method in enumerate(REFERENCES)]
