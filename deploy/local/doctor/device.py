"""What a worker would compute on."""

from collections.abc import Iterator

from deploy.local.doctor.finding import Finding, failure, ok, warning
from services.settings import Settings


def look(settings: Settings) -> Iterator[Finding]:
    """Loads torch, where it is there and a GPU may be meant."""
    if settings.device == "cpu":
        yield ok("device", "the CPU, as RAREBIT_DEVICE says")
        return
    try:
        import torch
    except ModuleNotFoundError:
        yield ok("device", "there is no torch here, so a gateway may run, and no worker")
        return
    name = settings.device or "cuda"
    try:
        torch.zeros(1, device=name)
    except (AssertionError, RuntimeError) as error:
        told = f"torch {torch.__version__} cannot use {name}: {str(error).splitlines()[0]}"
        do = "Install the GPU's driver and a build of torch for it; RAREBIT_DEVICE=cpu says that the CPU is meant."
        yield failure("device", told, do) if settings.device else warning("device", told, do)
        return
    memory = f" with {torch.cuda.mem_get_info(name)[1] / 2**30:.0f} GiB" if torch.device(name).type == "cuda" else ""
    yield ok("device", f"{name}{memory}, torch {torch.__version__}")
