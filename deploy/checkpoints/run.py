"""A training run that a stopped process goes on with: what is trained, its average, and the time it had."""

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from deploy.checkpoints.corpus import DEVICE

CUDA = DEVICE.type == "cuda"
SAVE_EVERY_S = 60
PATIENCE = 4  # checks without a new lowest before the held-out loss counts as turned
PARTS = ("model", "average", "optimizer")
NUMBERS = ("step", "seconds", "lowest", "since")
if CUDA:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def learning_rate(done: float, hold: float) -> float:
    """Constant for the share `hold` of the run, then linear to zero."""
    return 1.0 if done < hold else max(0.0, (1 - done) / (1 - hold))


def half() -> torch.autocast:
    """bfloat16 where there is a GPU."""
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=CUDA)


@dataclass
class Run:
    """What is trained in `folder`, and where its average was best on what is held out."""

    folder: Path
    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    lowest: float = float("inf")
    since: int = 0  # checks since then

    @classmethod
    def start(cls, folder: Path, model: nn.Module, *, weight_decay: float) -> "Run":
        """A new run of `model`, or the one whose state the folder holds."""
        folder.mkdir(parents=True, exist_ok=True)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, weight_decay=weight_decay, betas=(0.9, 0.99), fused=CUDA)
        run = cls(folder, model, deepcopy(model).eval().requires_grad_(False), optimizer)
        if (folder / "resume.pt").exists():
            run.resume(torch.load(folder / "resume.pt", weights_only=True, map_location=DEVICE))
        return run

    def resume(self, state: dict) -> None:
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        vars(self).update({name: state[name] for name in NUMBERS})

    def save(self) -> None:
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        torch.save(state | {name: getattr(self, name) for name in NUMBERS}, self.folder / "resume.tmp")
        (self.folder / "resume.tmp").replace(self.folder / "resume.pt")

    def until(self, minutes: float) -> Iterator[float]:
        """The share of the time that is gone, before each step, earlier processes' included; saves on the way."""
        begin, saved = time.time() - self.seconds, time.time()
        while (done := (time.time() - begin) / (60 * minutes)) < 1 and self.since < PATIENCE:
            yield done
            self.seconds = time.time() - begin
            if time.time() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.time()

    def descend(self, loss: Tensor, lr: float, decay: float) -> None:
        """One step of AdamW, the gradient's norm cut at 1, and of the average, which forgets the start sooner."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.model, min(decay, (1 + self.step) / (10 + self.step)))

    def check(self, held_out: float) -> bool:
        """Save the run; whether its average is the best so far on what is held out."""
        self.since = 0 if held_out < self.lowest else self.since + 1
        self.lowest = min(held_out, self.lowest)
        self.save()
        print(
            f"{self.folder.name} {self.step} {self.seconds / 60:.1f} min held out {held_out:.4f}, "
            f"lowest {self.lowest:.4f} {self.since} checks ago",
            flush=True,
        )
        return self.since == 0
