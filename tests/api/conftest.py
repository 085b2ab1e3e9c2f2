"""A store, and a worker that ends jobs without a model."""

from collections.abc import Callable

import pytest

from services.jobs.leases import Claim, Leases
from services.jobs.record import Metrics
from services.objects.storage import Storage, open_storage
from services.settings import Settings
from tests.published import store_output


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings)


@pytest.fixture
def publish(leases: Leases, storage: Storage) -> Callable[..., Claim]:
    """Run the next job to its end, with `count` pictures; the embedding of each is its index, three times.

    What more is given is in their replay blocks.
    """

    def run(count: int = 1, leases: Leases = leases, **replay: str) -> Claim:
        claim = leases.claim()
        outputs = [store_output(storage, claim, index, **replay) for index in range(count)]
        leases.succeed(claim, outputs, [], Metrics(decode_ms=5))
        return claim

    return run
