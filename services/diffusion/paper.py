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
from services.diffusion.spaces import Parameters, Space
from services.diffusion.steering import Steering
from services.diffusion.trials import Checked, copied, states_of

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
    """The `count` pictures, noise seed + i, of the last check that was passed; of the beginning if none was."""
    loss, parameters = PaperLoss(density, steering), space.start(seed)
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    fresh, passed = noise_of([seed]), (0, copied(parameters))
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        figures = Figures.of(density, space.sample([parameters], fresh), space.positive.text_embeds)
        loss(figures).sum().backward()
        optimizer.step()
        report("optimize", step, steps, density.bits(figures.d2.item()))
        if step % CHECK_EVERY == 0 or step == steps:
            if not look(space, density, parameters, [seed], step, judge)[0].passed:
                break
            passed = (step, copied(parameters))
    step, learnt = passed
    return look(space, density, learnt, [seed + i for i in range(count)], step, judge)


@torch.no_grad()
def look(
    space: Space, density: DensityModel, learnt: Parameters, seeds: list[int], step: int, judge: Judge
) -> list[Checked]:
    """What these parameters give with the noise of each seed, decoded and judged."""
    image_embeds = space.sample([learnt] * len(seeds), noise_of(seeds))
    figures = Figures.of(density, image_embeds, space.positive.text_embeds)
    states = states_of(density, seeds, step, image_embeds, figures)
    return [
        Checked(state, copied(learnt), *verdict)
        for state, verdict in zip(states, judge(seeds, image_embeds), strict=True)
    ]
