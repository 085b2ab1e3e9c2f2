"""What a GPU takes, as NVML counts it."""

from collections.abc import Callable
from contextlib import suppress


def energy_of(uuid: str | None) -> Callable[[], int]:
    """Tells the millijoules that the GPU has taken since now: 0 without one, and where NVML is not there or does not
    count, as for a part of a GPU."""
    try:
        import pynvml
    except ImportError:
        return _nothing
    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        begin_mj = last_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:
        return _nothing

    def taken_mj() -> int:
        nonlocal last_mj
        with suppress(pynvml.NVMLError):
            last_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
        return int(last_mj - begin_mj)

    return taken_mj


def _nothing() -> int:
    return 0
