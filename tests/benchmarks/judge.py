"""What the judge's validity is worth beside an independent one: words that it was taught, others, and phrases."""

from collections.abc import Iterator
from functools import cache
from statistics import fmean

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from deploy.evaluate.reference import CONCEPTS as TAUGHT
from deploy.evaluate.reference import plain_reference
from services.diffusion.checkers.open_clip import validity_of
from services.diffusion.checkers.reading import Reading
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks import setup

COUNT, SEED = 16, 5000
UNSEEN = (  # no picture of the corpus has any of these names
    *("typewriter", "gazebo", "hovercraft", "didgeridoo", "samovar", "pergola"),
    *("theremin", "wug", "credenza", "escritoire", "手提包", "كرسي"),
)
PHRASES = (
    *("red wooden chair", "black handbag", "old lamp", "small round table", "cup of tea", "a car made of glass"),
    *("striped sofa", "tall white vase", "leather backpack", "art deco clock", "teapot with a long spout", "two shoes"),
)
BINS = 10


@cache
def drawn(words: str) -> list[Image.Image]:
    """Plain samples of the words."""
    return plain_reference(setup.models().model, words, COUNT, SEED, setup.progress).images


def row(kind: str, words: str) -> str:
    """What is judged, and by the independent judge where it knows that noun."""
    checker, yardstick, images = setup.models().checker, setup.yardstick(), drawn(words)
    reading = checker.reading(words)
    validity = [v for v in validity_of(checker, images, words, reading) if v is not None]
    cells = [kind, words, said(reading), f"{fmean(validity):.2f}" if validity else "null", "–"]
    if reading.noun in yardstick.judge.concepts:
        cells[-1] = f"{yardstick.judge.p_valid(yardstick.features(images), reading.noun).mean():.2f}"
    return f"| {' | '.join(cells)} |"


def said(reading: Reading) -> str:
    """What is judged of a phrase, and what is said not to be."""
    judged = " ".join([*reading.attributes, reading.noun or ""]).strip() or "nothing"
    return f"{judged}; not {', '.join(reading.unknown)}" if reading.unknown else judged


def against_each_word() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every taught word's samples and every taught word: whether they belong together, the judge's validity, and
    the independent judge's P(word)."""
    checker, yardstick, own, validity, p = setup.models().checker, setup.yardstick(), [], [], []
    for drawn_word in TAUGHT:
        images = drawn(drawn_word)
        features = yardstick.features(images)
        for word in TAUGHT:
            own += [word == drawn_word] * len(images)
            validity += checker.p_valid(images, word).tolist()
            p += yardstick.judge.p_valid(features, word).tolist()
    return np.array(own), np.array(validity), np.array(p)


def reliability(validity: np.ndarray, valid: np.ndarray) -> Iterator[str]:
    """A reliability diagram as a table, and the expected calibration error (arXiv 1706.04599)."""
    error, bins = 0.0, np.minimum((validity * BINS).astype(int), BINS - 1)
    yield "| validity | pictures | mean validity | valid, independent judge |\n|---|---|---|---|"
    for index in np.unique(bins):
        inside = bins == index
        said_, is_ = validity[inside].mean(), valid[inside].mean()
        error += inside.mean() * abs(said_ - is_)
        yield f"| {index / BINS:.1f} to {(index + 1) / BINS:.1f} | {inside.sum()} | {said_:.2f} | {is_:.2f} |"
    yield f"\nExpected calibration error {error:.3f}\n"


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| | words | judged | validity | independent judge |\n|---|---|---|---|---|"
    for kind, group in (("taught", TAUGHT), ("unseen", UNSEEN), ("phrase", PHRASES)):
        yield from (row(kind, words) for words in group)
    own, validity, p = against_each_word()
    valid = p >= MIN_VALIDITY
    yield f"\nArea under the curve of validity against the independent judge: {roc_auc_score(valid, validity):.3f}"
    yield f" over {len(own)} pairs of a picture and a word; {roc_auc_score(valid[own], validity[own]):.3f} over the"
    yield f"{own.sum()} where the word is the picture's own.\n\nEvery pair:\n"
    yield from reliability(validity, valid)
    yield "The picture's own word:\n"
    yield from reliability(validity[own], valid[own])
