"""The printed method (arXiv 2601.22125): one trial away from the density until a check says no.

Literal in loss, weights, learning rate, fresh noise and checks; only the sign of the negative clusters is corrected,
and their push is bounded: as printed, minimising −log N⁻ would attract.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.objective import Figures, quantiles
from services.diffusion.optimize import CHECK_EVERY, WEIGHT_DECAY, Judge, noise_of
from services.diffusion.spaces import Space
from services.diffusion.steering import Steering
from services.diffusion.trials import MIN_VALIDITY, Checked, Trial, copied, states_of

LEARNING_RATE = 1e-4
DEVIATION = (
    "mode paper: the printed sign of the negative clusters attracts to them; it is corrected, and the push away is "
    "bounded"
)


class PaperLoss:
    """log N(y; 0, Σ) + Σ log N⁻(y) + (1 − cos(z, t)), a cluster's term no lower than plain samples come."""

    def __init__(self, density: DensityModel, steering: Steering) -> None:
        self.gaussian = density.mixture.gaussian()
        self.avoid = [(c, quantiles(c.log_prob(density.held_out))[0]) for c in steering.avoid]

    def __call__(self, figures: Figures) -> Float[Tensor, "rows"]:
        loss = self.gaussian.log_prob(figures.y) + 1 - figures.cosine
        for cluster, floor in self.avoid:
            loss = loss + cluster.log_prob(figures.y).clamp(min=floor)
        return loss


def run_paper(
    space: Space,
    density: DensityModel,
    steering: Steering,
    *,
    seed: int,
    count: int,
    steps: int,
    judge: Judge,
    report: Report,
) -> list[Checked]:
    """The `count` pictures, noise seed + i, of the last check at which most of them were valid; at first, step 0."""
    loss, trial = PaperLoss(density, steering), Trial.of(seed, space.start(seed))
    optimizer = torch.optim.AdamW(trial.parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    fresh, seeds = noise_of([seed]), [seed + i for i in range(count)]
    passed = look(space, density, trial, seeds, 0, judge)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        figures = Figures.of(density, space.sample([trial.parameters], fresh), space.positive.text_embeds)
        loss(figures).sum().backward()
        optimizer.step()
        report("optimize", step, steps, density.bits(figures.d2.item()))
        if step % CHECK_EVERY == 0 or step == steps:
            checks = look(space, density, trial, seeds, step, judge)
            if sum(check.validity for check in checks) < MIN_VALIDITY * count:
                break
            passed = checks
    return passed


@torch.no_grad()
def look(space: Space, density: DensityModel, trial: Trial, seeds: list[int], step: int, judge: Judge) -> list[Checked]:
    """What the trial has learnt so far, with the noise of each seed, decoded and judged."""
    image_embeds = space.sample([trial.parameters] * len(seeds), noise_of(seeds))
    figures = Figures.of(density, image_embeds, space.positive.text_embeds)
    states, learnt = states_of(density, seeds, step, image_embeds, figures), copied(trial.parameters)
    verdicts = judge(seeds, image_embeds)
    return [Checked(state, learnt, *verdict) for state, verdict in zip(states, verdicts, strict=True)]
