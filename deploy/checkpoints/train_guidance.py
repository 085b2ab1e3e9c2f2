"""Teach the U-Net its own guidance (arXiv 2210.03142, one stage): a student draws in one branch what took two.

The student's v at weight 1 is the teacher's at GUIDANCE; decoding runs that one branch and costs half.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE
from deploy.checkpoints.run import CUDA, Run
from deploy.checkpoints.train_unet import SCHEDULER, Examples, denoise, noised

GUIDANCE = 2.0
LR, DECAY, REPORT_EVERY = 2e-4, 0.995, 100


@torch.no_grad()
def guided(teacher: nn.Module, noisy: Tensor, timesteps: Tensor, z: Tensor) -> Tensor:
    """v of both branches, extrapolated from the empty condition's past the embeddings' (arXiv 2207.12598)."""
    both = torch.cat([torch.zeros_like(z), z])
    empty, conditioned = denoise(teacher, torch.cat([noisy] * 2), torch.cat([timesteps] * 2), both).chunk(2)
    return empty + GUIDANCE * (conditioned - empty)


def train(run: Run, teacher: nn.Module, examples: Examples, *, minutes: float, batch: int) -> None:
    scheduler, generator = DDIMScheduler(**SCHEDULER), torch.Generator().manual_seed(run.step)
    student, teacher = (torch.compile(m) if CUDA else m for m in (run.model, teacher))
    for done in run.until(minutes):
        latents, z = examples.draw(batch, generator, noise=0.5, drop=0.0)
        noisy, timesteps, _ = noised(scheduler, latents, generator)
        loss = F.mse_loss(denoise(student, noisy, timesteps, z), guided(teacher, noisy, timesteps, z))
        run.descend(loss, LR * min(1, (run.step + 1) / 50) * max(0.02, 1 - done), DECAY)
        if run.step % REPORT_EVERY == 0:
            print(f"guidance {run.step} {run.seconds / 60:.1f} min loss {loss.item():.5f}", flush=True)
    run.save()
    run.average.save_pretrained(run.folder / "unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=Path, required=True, help="folder with latents.npz")
    parser.add_argument("--teacher", type=Path, required=True, help="folder that train_unet.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--minutes", type=float, required=True, help="of all runs together")
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    torch.manual_seed(0)
    teacher, student = (
        UNet2DConditionModel.from_pretrained(args.teacher / "unet").to(DEVICE, memory_format=torch.channels_last)
        for _ in range(2)
    )
    examples, _ = Examples.load(args.examples / "latents.npz")
    run = Run.start(args.out, student.train(), weight_decay=0.0)
    train(run, teacher.requires_grad_(False), examples, minutes=args.minutes, batch=args.batch)


if __name__ == "__main__":
    main()
