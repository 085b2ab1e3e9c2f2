"""Jobs that end without a model, their pictures and what was learnt from them in the store."""

import numpy as np
from safetensors.numpy import save

from services.found import FACTS, FoundFacts
from services.jobs.leases import Claim
from services.jobs.record import ReachedRarity, StoredOutput
from services.objects.keys import output_key, state_key
from services.objects.storage import Storage


def store_output(storage: Storage, claim: Claim, index: int, **replay: str) -> StoredOutput:
    """Store a picture in name only, whose embedding is its index, three times."""
    picture, key = f"picture {index}".encode(), output_key(claim.id, claim.attempt, index, "png")
    storage.put(key, picture, "image/png")
    tensors = {"image_embeds": np.full(3, index, "f4")}
    learnt = save(tensors, {FACTS: facts_of(claim, **replay).model_dump_json()})
    storage.put(state_key(claim.id, claim.attempt, index), learnt, "application/octet-stream")
    rarity = ReachedRarity(percentile=99.9, bits=10.0, d2=80.0, residual=0.5)
    facts = {"media_type": "image/png", "width": 64, "height": 64, "bytes": len(picture), "sha256": "0" * 64}
    return StoredOutput(key=key, seed=7, rarity=rarity, anchor=0.3, validity=0.9, replay={"step": 9} | replay, **facts)


def facts_of(claim: Claim, model: str = "stand-in", **_replay: str) -> FoundFacts:
    """What is said of a trial that learnt nothing."""
    words = {"concept": claim.request.concept, "prompt": claim.request.prompt}
    figures = {"seed": 7, "strength": 0.5, "bits": 10.0, "validity": 0.9}
    return FoundFacts(model=model, checker="none", space=[], **words, **figures)
