"""The demo goes on when the service has to be started again meanwhile."""

import os
import signal
import threading

import pytest

from deploy.local import demo
from deploy.local.stack.child import RAREBIT, Child
from deploy.local.stack.readiness import answers
from deploy.local.stack.service import Stack
from deploy.local.stack.supervised import Supervised
from servers import SIGNING_KEY, eventually, free_port
from services.jobs.record import Metrics
from services.jobs.request import Rarity
from services.objects.storage import LocalStorage
from tests.published import store_output


@pytest.fixture
def stack(redis_url, tmp_path):
    """A gateway under supervision; the test is its worker."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    own = {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "SIGNING_KEY": SIGNING_KEY, "PUBLIC_URL": url}
    env = os.environ | {f"RAREBIT_{name}": value for name, value in own.items()}
    command = [*RAREBIT, "gateway", "--port", str(port)]
    gateway = Supervised(
        lambda: Child("gateway", command, log=tmp_path / "log", env=env), lambda: answers(f"{url}/health/live")
    )
    assert eventually(gateway.is_ready, 60)
    yield Stack(url, redis_url, [gateway])
    gateway.child.stop(5)


def test_killed_gateway_is_back_and_the_demo_has_its_pictures_of_one_job(stack, leases, client, tmp_path, capsys):
    storage, killed = LocalStorage(tmp_path / "objects", signing_key=SIGNING_KEY, public_url=stack.url), []

    def kill():
        killed.append(stack.processes[0].child.pid)
        os.kill(killed[-1], signal.SIGKILL)

    def work():
        """Kills the gateway once more when it has sent the job, and ends the job when it is there again."""
        assert eventually(lambda: leases.waiting() > 0, 60)
        kill()
        assert eventually(lambda: stack.processes[0].child.pid not in killed and stack.processes[0].is_ready(), 60)
        claim = leases.claim()
        leases.succeed(claim, [store_output(storage, claim, index) for index in range(2)], [], Metrics())

    kill()
    (worker := threading.Thread(target=work)).start()
    images = demo._through_the_service(stack, "chair", 2, Rarity(percentile=99.9))
    worker.join()
    assert [image.content for image in images] == [b"picture 0", b"picture 1"]
    assert len(client.keys("{rarebit}:job:*")) == 1
    assert capsys.readouterr().out.count("the gateway ended with exit code -9: ") == 2
