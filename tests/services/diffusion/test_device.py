"""Laws of a device that is not the CPU: every feature runs there, mixes nothing, and gives what the CPU gives."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import embedding

from services.diffusion import optimize
from tests.dark_classifier import save_dark_classifier
from tests.device_jobs import JOBS, Bench, load
from tests.pretended_device import DEVICE, Pretended
from tests.tiny_vlm import llava_next


@pytest.fixture(scope="module")
def folders(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    vlm = tmp_path_factory.mktemp("vlm")
    for part in llava_next():
        part.save_pretrained(vlm)
    safety = save_dark_classifier(tmp_path_factory.mktemp("safety"), brightness=0.5)
    return {name: checkpoint / name for name in ("prior", "decoder", "scorer")} | {"vlm": vlm, "safety": safety}


@pytest.fixture(scope="module")
def on_cpu(folders: dict[str, Path]) -> Bench:
    return load(folders, None, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def on_device(folders: dict[str, Path], on_cpu: Bench) -> Bench:
    with Pretended():
        return load(folders, on_cpu.density, device=DEVICE.type, dtype=torch.float32)


@pytest.fixture(scope="module")
def in_bfloat16(folders: dict[str, Path]) -> Bench:
    with Pretended():
        return load(folders, None, device=DEVICE.type, dtype=torch.bfloat16)


@pytest.fixture
def device() -> Iterator[None]:
    with Pretended():
        yield


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check comes, and a savepoint after it, before a job is over."""
    monkeypatch.setattr(optimize, "CHECK_EVERY", 1)


def there(*shape: int) -> Tensor:
    return torch.ones(shape, device=DEVICE)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda: there(2) + torch.ones(2),
        lambda: torch.ones(2) * there(2)[0],
        lambda: torch.stack([there(2)[0], torch.tensor(1.0)]),
        lambda: there(2).clamp(min=torch.ones(2)),
        lambda: there(2).quantile(torch.tensor([0.5])),
        lambda: embedding(torch.tensor([1]), there(2, 2)),
        lambda: torch.ones(2)[torch.tensor([0], device=DEVICE)],
        lambda: torch.randn(2, generator=torch.Generator(), device=DEVICE),
        lambda: there(2).numpy(),
    ],
)
def test_the_pretended_device_refuses_what_cuda_refuses(device, mixing):
    with pytest.raises((RuntimeError, TypeError)):
        mixing()


def test_the_pretended_device_takes_numbers_and_indices_of_the_cpu_and_gives_copies(device):
    moved = (torch.arange(3.0).to(DEVICE) * torch.tensor(2.0))[torch.tensor([2, 1])]
    assert moved.device == DEVICE
    assert moved.to(torch.ones(1)).numpy().tolist() == moved.tolist() == [4.0, moved[1].item()]


def test_a_gradient_is_on_the_device_of_its_tensor(device):
    weight = there(2, 2).requires_grad_()
    (there(3, 2) @ weight)[:, 0].sum().backward()
    assert weight.grad.device == DEVICE
    assert weight.grad.tolist() == [[3.0, 0.0], [3.0, 0.0]]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_gives_on_the_device_what_it_gives_on_the_cpu(on_cpu, on_device, name):
    expected = JOBS[name](on_cpu)
    with Pretended():
        difference = JOBS[name](on_device).difference(expected)
    assert difference.small, difference


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_on_the_device_in_bfloat16(device, in_bfloat16, name):
    outcome = JOBS[name](in_bfloat16)
    assert outcome.embeds.isfinite().all()
    assert all(map(isfinite, outcome.bits + outcome.probabilities))
