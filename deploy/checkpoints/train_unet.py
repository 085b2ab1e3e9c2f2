"""Train the decoder: a UNet2DConditionModel of the Kandinsky 2.1 kind, latents from image embeddings.

v-prediction on a cosine schedule. The unconditional branch sees a zero embedding; XLM-R's output for the empty prompt
is a constant zero (see `export.py`). Start it with `torchrun --nproc-per-node N` for N processes of one thread each.
"""

import argparse
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from deploy.checkpoints.corpus import DEVICE

DIM, CHANNELS = 128, 16
CONFIG = {
    "sample_size": 8,
    "in_channels": CHANNELS,
    "out_channels": 2 * CHANNELS,
    "block_out_channels": (128, 192),
    "layers_per_block": 1,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 32,
    "cross_attention_dim": DIM,
    "encoder_hid_dim": DIM,
    "encoder_hid_dim_type": "text_image_proj",
    "addition_embed_type": "text_image",
    "resnet_time_scale_shift": "scale_shift",
}
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}


def denoise(unet: nn.Module, noisy: Tensor, timesteps: Tensor, image_embeds: Tensor) -> Tensor:
    """The predicted v (batch, 16, 8, 8); the second half of the output, a variance, is not trained."""
    empty = torch.zeros(len(noisy), DIM, device=noisy.device)
    cond = {"image_embeds": image_embeds, "text_embeds": empty}
    return unet(noisy, timesteps, encoder_hidden_states=empty[:, None], added_cond_kwargs=cond).sample[:, :CHANNELS]


@dataclass
class Examples:
    """Latents (n, 16, 8, 8) and image embeddings (n, 128) of the same pictures, with sampling weights (n,)."""

    latents: Tensor
    image_embeds: Tensor
    weights: Tensor

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch; embeddings carry a little noise (as the prior's do), one in ten is zero (no condition)."""
        picks = torch.multinomial(self.weights, batch, replacement=True, generator=generator)
        z = self.image_embeds[picks].float()
        z = z + 0.25 * torch.rand(batch, 1, generator=generator) * torch.randn(z.shape, generator=generator)
        keep = torch.rand(batch, 1, generator=generator) >= 0.1
        return self.latents[picks].float().to(DEVICE), (z * keep).to(DEVICE)


def loss_of(
    unet: nn.Module, scheduler: DDIMScheduler, latents: Tensor, z: Tensor, generator: torch.Generator
) -> Tensor:
    noise = torch.randn(latents.shape, generator=generator).to(DEVICE)
    quantile = torch.sigmoid(1.2 * torch.randn(len(latents), generator=generator) + 0.2)
    timesteps = (quantile * 1000).long().clamp(0, 999).to(DEVICE)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    return F.mse_loss(denoise(unet, noisy, timesteps, z), target)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)


def learning_rate(done: float, hold: float) -> float:
    """Constant for the share `hold` of the run, then linear to zero."""
    return 1.0 if done < hold else max(0.0, (1 - done) / (1 - hold))


@dataclass
class Run:
    """What is trained, its average, and what resuming needs."""

    unet: UNet2DConditionModel
    average: UNet2DConditionModel
    optimizer: torch.optim.Optimizer
    step: int = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {"unet": self.unet.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        torch.save(state, folder / "resume.tmp")
        (folder / "resume.tmp").replace(folder / "resume.pt")
        self.average.save_pretrained(folder / "unet")

    @classmethod
    def start(cls, folder: Path, lr: float) -> "Run":
        unet = UNet2DConditionModel(**CONFIG).to(DEVICE)
        average, resume = deepcopy(unet), folder / "resume.pt"
        run = cls(unet, average, torch.optim.AdamW(unet.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.99)))
        if resume.exists():
            state = torch.load(resume, weights_only=True, map_location=DEVICE)
            unet.load_state_dict(state["unet"])
            run.optimizer.load_state_dict(state["optimizer"])
            run.step, run.average = state["step"], UNet2DConditionModel.from_pretrained(folder / "unet").to(DEVICE)
        return run


def train(run: Run, examples: Examples, held_out: Examples, args: argparse.Namespace, rank: int) -> None:
    scheduler = DDIMScheduler(**SCHEDULER)
    generator = torch.Generator().manual_seed(1000 * run.step + rank)
    model = DistributedDataParallel(run.unet) if dist.is_initialized() else run.unet
    begin, saved, losses = time.time(), time.time(), []
    while (done := (time.time() - begin) / (60 * args.minutes)) < 1:
        for group in run.optimizer.param_groups:
            group["lr"] = args.lr * min(1, (run.step + 1) / 200) * learning_rate(done, args.hold)
        loss = loss_of(model, scheduler, *examples.draw(args.batch, generator), generator)
        run.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.unet.parameters(), 1.0)
        run.optimizer.step()
        run.step += 1
        update_average(run.average, run.unet, min(0.999, (1 + run.step) / (10 + run.step)))
        losses.append(loss.item())
        if rank == 0 and run.step % 100 == 0:
            fixed = torch.Generator().manual_seed(0)
            with torch.no_grad():
                check = loss_of(run.average, scheduler, *held_out.draw(256, fixed), fixed).item()
            begun = (time.time() - begin) / 60
            print(f"unet {run.step} {begun:.1f} min {np.mean(losses[-100:]):.4f} held out {check:.4f}", flush=True)
        if rank == 0 and time.time() - saved > 60 * args.save_every:
            run.save(args.out)
            saved = time.time()
    if rank == 0:
        run.save(args.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=Path, required=True, help="folder with latents.npz")
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--hold", type=float, default=0.7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--save-every", type=float, default=5, help="minutes")
    args = parser.parse_args()
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    rank = dist.get_rank() if dist.is_initialized() else 0
    torch.manual_seed(0)
    arrays = {k: torch.from_numpy(v) for k, v in np.load(args.examples / "latents.npz").items()}
    split = [
        Examples(arrays["latents"][m], arrays["z"][m], arrays["weights"][m].float())
        for m in (~arrays["held_out"], arrays["held_out"])
    ]
    train(Run.start(args.out, args.lr), split[0], split[1], args, rank)


if __name__ == "__main__":
    main()
