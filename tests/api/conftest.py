"""A store, and a worker that ends jobs without a model."""

from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import save

from services.jobs import Claim, Leases
from services.schemas import Metrics, ReachedRarity, StoredOutput
from services.settings import Settings
from services.storage import Storage, open_storage, output_key, state_key


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings)


@pytest.fixture
def publish(leases: Leases, storage: Storage) -> Callable[..., Claim]:
    """Run the next job to its end, with `count` pictures; the embedding of each is its index, three times."""

    def run(count: int = 1) -> Claim:
        claim = leases.claim()
        outputs = [_store(storage, claim, index) for index in range(count)]
        leases.succeed(claim, outputs, [], Metrics(decode_ms=5))
        return claim

    return run


def _store(storage: Storage, claim: Claim, index: int) -> StoredOutput:
    picture, key = f"picture {index}".encode(), output_key(claim.id, claim.attempt, index, "png")
    storage.put(key, picture, "image/png")
    learnt = {"image_embeds": np.full(3, index, "f4"), "cluster": np.zeros((2, 3), "f4")}
    storage.put(state_key(claim.id, claim.attempt, index), save(learnt), "application/octet-stream")
    rarity = ReachedRarity(percentile=99.9, bits=10.0, d2=80.0, residual=0.5)
    facts = {"media_type": "image/png", "width": 64, "height": 64, "bytes": len(picture), "sha256": "0" * 64}
    return StoredOutput(key=key, seed=7, rarity=rarity, anchor=0.3, validity=0.9, replay={"step": 9}, **facts)
