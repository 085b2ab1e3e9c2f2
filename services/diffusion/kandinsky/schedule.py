"""unCLIP's schedule of the prior (arXiv 2204.06125) as numbers, so that a step reads nothing from the device."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UnCLIPScheduler
from jaxtyping import Float, Int
from torch import Tensor

from services.errors import CheckpointError

PRIOR_STEPS = 5
VARIATION_STEPS = 3
FRINGE = 0.05  # of the timesteps, at either end of strengths: no noise has no density, noise alone no picture


@dataclass(frozen=True)
class Step:
    """From `timestep` to the one before it, or to the end."""

    timestep: int
    signal: float
    clean: float
    latents: float
    noise: float
    limit: float

    def enter(self, clean: Float[Tensor, "#rows dim"], noise: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """What is as noisy as latents are at this timestep."""
        noisy: Tensor = self.signal**0.5 * clean + (1 - self.signal) ** 0.5 * noise
        return noisy

    def __call__(
        self, predicted: Float[Tensor, "rows dim"], latents: Float[Tensor, "rows dim"], noise: Tensor | None
    ) -> Float[Tensor, "rows dim"]:
        """The latents one step on, to the bit those of UnCLIPScheduler.step; `noise` is None at the end."""
        clean = predicted.clamp(-self.limit, self.limit)
        mean = self.clean * clean + self.latents * latents
        return mean if noise is None else mean + self.noise * noise


def schedule_of(scheduler: UnCLIPScheduler) -> list[Step]:
    """PRIOR_STEPS steps, the noisiest first; CheckpointError for a kind that kandinsky-2-1-prior has not."""
    scheduler.set_timesteps(PRIOR_STEPS)
    return _steps(scheduler, scheduler.timesteps)


def variation_of(scheduler: UnCLIPScheduler, strength: float) -> list[Step]:
    """VARIATION_STEPS steps, evenly to the end from a timestep between the fringes, the noisier the stronger."""
    share = FRINGE + strength * (1 - 2 * FRINGE)
    first = share * (scheduler.config.num_train_timesteps - 1)
    timesteps = np.linspace(first, 0, VARIATION_STEPS).round().astype(int)
    return _steps(scheduler, torch.from_numpy(timesteps))


def _steps(scheduler: UnCLIPScheduler, timesteps: Int[Tensor, "n"]) -> list[Step]:
    config = scheduler.config
    if (config.prediction_type, config.variance_type) != ("sample", "fixed_small_log"):
        raise CheckpointError(
            f"the prior's scheduler must predict sample with fixed_small_log variance, not "
            f"{config.prediction_type} with {config.variance_type}"
        )
    now = scheduler.alphas_cumprod[timesteps]
    previous = torch.cat([now[1:], now.new_ones(1)])
    beta = torch.cat([(1 - now / previous)[:-1], scheduler.betas[timesteps[-1:]]])
    clean = previous**0.5 * beta / (1 - now)
    latents = (1 - beta) ** 0.5 * (1 - previous) / (1 - now)
    variance = (1 - previous) / (1 - now) * beta
    noise = torch.exp(0.5 * variance.clamp(min=1e-20).log())
    limit = config.clip_sample_range if config.clip_sample else torch.inf
    columns = (column.tolist() for column in (timesteps, now, clean, latents, noise))
    return [Step(t, a, x0, xt, sigma, limit) for t, a, x0, xt, sigma in zip(*columns, strict=True)]
