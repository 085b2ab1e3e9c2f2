"""Density models as the store of objects and Redis have them: what the gateway says of them, without a tensor."""

import hashlib
import json
from datetime import datetime

from pydantic import TypeAdapter

from services.base_models import StoredModel
from services.bounds import DEFAULT_MODEL
from services.objects.storage import Storage
from services.texts.concepts import canonical

BASELINE_POINTS = 300


class Point(StoredModel):
    """A plain sample, in the coordinates and the bits that trials have."""

    x: float
    y: float
    bits: float


class Baseline(StoredModel):
    """What lies beside a density in the store of objects; `fitted_at` is null for one of before this was kept."""

    fitted_at: datetime | None
    points: list[Point]


class DensityFacts(StoredModel):
    """What a worker says of a density that it has had at hand.

    `key` is where it is stored; `family`, of `family_of`, tells densities of one model and size from others.
    """

    concept: str
    prompt: str
    model: str = DEFAULT_MODEL
    samples: int
    components: int
    variance_kept: float
    fitted_at: datetime | None
    key: str
    family: str


FACTS = TypeAdapter(list[DensityFacts])


def baseline_key(density: str) -> str:
    """Where the baseline of the density with this key lies."""
    return f"{density}/baseline.json"


def name_of_model(concept: str, prompt: str, model: str) -> str:
    """What stands for a concept, however it is written, in its prompt to a model in Redis; of bounded length."""
    others = [] if model == DEFAULT_MODEL else [model]
    return hashlib.sha256(json.dumps([canonical(concept), prompt, *others]).encode()).hexdigest()


def family_of(model: str, samples: int) -> str:
    """What densities of one model, by its fingerprint, and one number of samples have in common."""
    return f"{model}-{samples}"


def is_stored(storage: Storage, facts: DensityFacts) -> bool:
    """Whether the store still has it."""
    return storage.exists(baseline_key(facts.key))
