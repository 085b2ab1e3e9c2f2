"""A worker's parts in this process: models loaded once, a real Redis, a real folder."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from servers import SIGNING_KEY
from services.jobs.leases import Leases
from services.jobs.store import connect
from services.objects.storage import LocalStorage, Storage
from services.sampler.models import Models, load_models
from services.settings import Settings
from worker.fit_lock import fit_lock
from worker.heartbeat import Heartbeat
from worker.tasks import Runner


def local_storage(root: Path) -> Storage:
    return LocalStorage(root, signing_key="k" * 32, public_url="http://gateway")


@pytest.fixture(scope="session")
def density_storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return local_storage(tmp_path_factory.mktemp("densities"))


@pytest.fixture(scope="session")
def models(density_storage: Storage) -> Models:
    """The embedded checkpoint with densities of 500 samples, which last for the session."""
    settings = Settings(signing_key=SIGNING_KEY, density_samples=500)
    return load_models(settings, density_storage)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return local_storage(tmp_path / "objects")


@pytest.fixture
def make_runner(redis_url: str, models: Models, storage: Storage) -> Iterator[Callable[..., Runner]]:
    """A worker's runner, without a grace when it is stopping; any of its parts may be given."""
    client = connect(redis_url)

    def make(*, lease_s: float = 30, storage: Storage = storage, models: Models = models, **options: object) -> Runner:
        leases = Leases(client, worker="worker-1", lease_s=lease_s)
        heartbeat = Heartbeat(leases, interval_s=10)
        options = {"fit_lock": partial(fit_lock, client, 30), "run_limit_s": 600, "stopping": lambda: False} | options
        options = {"hand_back": options["stopping"]} | options
        return Runner(leases, storage, models, heartbeat, **options)

    yield make
    client.close()
