"""What is said of a found thing in its own file, safetensors, which the gateway reads without torch."""

import json

from pydantic import ConfigDict, Field

from services.base_models import StoredModel

FACTS = "found"  # a metadatum of the file, JSON; beside it `model`


class FoundFacts(StoredModel):
    """Of which concept a trial is, in which sentence and spaces it has learnt, the seed of its noise in the prior, the
    strength of its variation, and the fingerprints of model and checker; and its picture's figures."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str = Field(max_length=64)
    checker: str = Field(max_length=64)
    concept: str
    prompt: str
    space: list[str]
    seed: int
    strength: float
    bits: float
    validity: float | None


def read_facts(data: bytes) -> FoundFacts:
    """Of the file's head; ValueError for what is none, or has been written without them."""
    try:
        facts = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][FACTS]
    except (KeyError, TypeError) as error:
        raise ValueError("only its embedding is kept, and not what was learnt") from error
    except RecursionError as error:
        raise ValueError("its head is nested too deeply") from error
    return FoundFacts.model_validate_json(facts)
