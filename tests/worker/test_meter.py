"""What a worker tells of itself comes together in its model's figures, and nothing of it twice."""

import sys
import time
from types import ModuleType

import pytest
import torch

from servers import url_of
from services.diffusion.runtime.device import gpu_uuid, peak_memory
from services.jobs.figures import LOOKUPS
from services.jobs.leases import Leases
from services.jobs.store import connect
from worker.energy import energy_of
from worker.heartbeat import Heartbeat
from worker.meter import Meter


async def test_time_is_busy_while_a_job_runs_however_many_do_at_once():
    meter = Meter()
    with meter.busy(), meter.busy():
        time.sleep(0.1)
    counts = meter.counts()
    time.sleep(0.05)
    later = meter.counts()
    assert 100 <= counts["worker:busy"] == later["worker:busy"] < 150
    assert later["worker:idle"] >= 50


async def test_heartbeats_tell_what_is_new(jobs, leases):
    lookups = {"memory": 2, "fit": 1}
    heartbeat = Heartbeat(leases, 5, meter=Meter(lookups, lambda: 3_600, lambda: 0.5))
    heartbeat.beat()
    lookups["memory"] += 1
    heartbeat.beat()
    pool = (await jobs.stats()).pool("rarebit")
    assert {name: pool.counters.get(f"densities:{name}", 0) for name in LOOKUPS} == {"memory": 3, "store": 0, "fit": 1}
    assert (pool.counters["energy:mj"], pool.device_memory) == (3_600, 0.5)


async def test_what_redis_has_not_heard_is_told_when_it_is_back(own_redis):
    with connect(url_of(own_redis)) as client:
        heartbeat = Heartbeat(Leases(client, worker="w", lease_s=30), 5, meter=Meter({"store": 4}))
        own_redis.kill()
        heartbeat.beat()
        own_redis.start()
        heartbeat.beat()
        assert client.hget("{rarebit}:counters", "densities:store") == "4"


def test_without_nvml_energy_is_nothing_and_nobody_hears_of_it(monkeypatch, capfd):
    assert energy_of(None)() == 0
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_of("none")() == 0
    assert capfd.readouterr() == ("", "")


def test_energy_is_what_the_gpu_has_taken_since_it_was_first_asked(monkeypatch):
    """A GPU that falls silent keeps what it had told."""
    told_mj = [1_000, 1_500]

    def total_mj(handle):
        assert handle == "handle of GPU-1f"
        if not told_mj:
            raise NVMLError
        return told_mj.pop(0)

    class NVMLError(Exception):
        pass

    library = ModuleType("pynvml")
    library.NVMLError, library.nvmlInit = NVMLError, lambda: None
    library.nvmlDeviceGetHandleByUUID = lambda uuid: f"handle of {uuid}"
    library.nvmlDeviceGetTotalEnergyConsumption = total_mj
    monkeypatch.setitem(sys.modules, "pynvml", library)
    taken_mj = energy_of("1f")
    assert (taken_mj(), taken_mj()) == (500, 500)
    assert energy_of("1f")() == 0


def test_cpu_has_no_device_memory_and_no_uuid():
    assert (peak_memory(torch.device("cpu")), gpu_uuid(torch.device("cpu"))) == (None, None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_gpu_tells_its_memory_and_nvml_counts_its_energy():
    device = torch.device("cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    taken_mj = energy_of(gpu_uuid(device))
    rows = torch.ones(4096, 4096, device=device)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        rows = (rows @ rows).clamp(max=1)
    torch.cuda.synchronize()
    assert 4 * 4096**2 / total <= peak_memory(device) < 1
    assert taken_mj() > 10_000  # an idle H100 takes 70 W
