"""The printed method (arXiv 2601.22125): one trial away from the density until a check says no.

Literal in loss, weights, learning rate, fresh noise and checks; only the sign of the negative clusters is corrected,
and their push is bounded: as printed, minimising −log N⁻ would attract.
"""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkers.reading import Reading
from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.optimize import CHECK_EVERY, DecodeAndCheck
from services.diffusion.runtime.observer import Observer, Snapshot, Standing, unobserved
from services.diffusion.runtime.savepoint import NOWHERE, Savepoint, Tree
from services.diffusion.steering.adamw import AdamW
from services.diffusion.steering.clusters import Steering
from services.diffusion.steering.objective import Figures, quantiles
from services.diffusion.steering.spaces import Parameters, Space
from services.diffusion.trials import Checked, State, copied, states_of

LEARNING_RATE = 1e-4
DEVIATION = (
    "mode paper: the printed sign of the negative clusters attracts to them; it is corrected, and the push away is "
    "bounded"
)


def unchecked(reading: Reading) -> list[str]:
    """A sentence where no check can say no, which is all that ends the trial before its last step."""
    return [] if reading.noun else ["mode paper: no check could end the trial, which took all its steps"]


class PaperLoss:
    """log N(y; 0, Σ) + Σ w log N⁻(y) + (1 − cos(z, t)), a cluster's term no lower than plain samples come."""

    def __init__(self, density: DensityModel, steering: Steering) -> None:
        self.gaussian = density.mixture.gaussian()
        self.avoid = [(c, quantiles(c.log_prob(density.held_out))[0]) for c in steering.avoid]

    def __call__(self, figures: Figures) -> Float[Tensor, "rows"]:
        loss = self.gaussian.log_prob(figures.y) + 1 - figures.cosine
        for cluster, floor in self.avoid:
            loss = loss + cluster.weight * cluster.log_prob(figures.y).clamp(min=floor)
        return loss


class Paper:
    """One trial, as printed."""

    def __init__(self, space: Space, density: DensityModel, steering: Steering, *, seed: int) -> None:
        self.space, self.density, self.seed = space, density, seed
        self.loss, self.passed = PaperLoss(density, steering), space.start(seed)
        self.parameters = [part[None].clone() for part in self.passed]
        self.optimizer = AdamW(self.parameters, [LEARNING_RATE] * len(self.parameters))
        self.fresh, self.step = noise_of([seed]), 0
        self.validity: float | None = None

    def run(
        self,
        count: int,
        steps: int,
        judge: DecodeAndCheck,
        report: Report,
        savepoint: Savepoint = NOWHERE,
        observer: Observer = unobserved,
    ) -> list[Checked]:
        """The `count` pictures, noise seed + i, of the last check that was passed; of the beginning if none was."""

        def show(step: int, at: State, standing: Standing, image: Image.Image | None = None) -> None:
            observer(step, [Snapshot(at.bits, self.validity, at.x, at.y, standing, image)])
            report("optimize", step, steps, at.bits)

        if saved := savepoint.load():
            self._restore(saved)
        for step in range(self.step + 1, steps + 1):
            show(step, self._move(step), "moving")
            if step % CHECK_EVERY == 0 or step == steps:
                learnt = [part[0] for part in self.parameters]
                check = self._look(learnt, [self.seed], step, judge)[0]
                self.validity = check.validity
                show(step, check.state, "moving" if check.passed and step < steps else "ended", check.image)
                if not check.passed:
                    break
                self.step, self.passed = step, copied(learnt)
                savepoint.save(self._saved())
        return self._look(self.passed, [self.seed + i for i in range(count)], self.step, judge)

    def _move(self, step: int) -> State:
        """One step; answers with the sample that it was taken from."""
        own = [part.clone().requires_grad_() for part in self.parameters]
        image_embeds = self.space.sample(own, self.space.noise(self.fresh, 1))
        figures = Figures.of(self.density, image_embeds, self.space.positive.text_embeds)
        self.optimizer.take([0], torch.autograd.grad(self.loss(figures).sum(), own))
        self.optimizer.step()
        return states_of(self.density, [self.seed], step, image_embeds, figures.table(self.density))[0]

    def _look(self, learnt: Parameters, seeds: list[int], step: int, judge: DecodeAndCheck) -> list[Checked]:
        return look(self.space, self.density, learnt, seeds, step, judge)

    def _saved(self) -> Tree:
        """The state at a check that was passed, where `passed` is what the parameters are."""
        noise = self.fresh[0].get_state()
        kept = {"step": self.step, "validity": self.validity, "learnt": self.passed}
        return kept | {"noise": noise, "moments": self.optimizer.saved()}

    def _restore(self, saved: Tree) -> None:
        self.step, self.validity = saved["step"], saved["validity"]
        for part, own, value in zip(self.parameters, self.passed, saved["learnt"], strict=True):
            part.copy_(value[None])
            own.copy_(value)
        self.fresh[0].set_state(saved["noise"])
        self.optimizer.restore(saved["moments"])


@torch.no_grad()
def look(
    space: Space, density: DensityModel, learnt: Parameters, seeds: list[int], step: int, judge: DecodeAndCheck
) -> list[Checked]:
    """What these parameters give with the noise of each seed, decoded and judged."""
    rows = [part.expand(len(seeds), *part.shape) for part in learnt]
    image_embeds = space.sample(rows, space.noise(noise_of(seeds), len(seeds)))
    figures = Figures.of(density, image_embeds, space.positive.text_embeds)
    states = states_of(density, seeds, step, image_embeds, figures.table(density))
    return [
        Checked(state, copied(learnt), *verdict)
        for state, verdict in zip(states, judge(seeds, image_embeds), strict=True)
    ]
