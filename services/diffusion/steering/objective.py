"""What a trial is drawn to: a shell of the wanted rarity, inside what is usual, in the wanted direction."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.density.model import DensityModel
from services.diffusion.steering.belief import Belief
from services.diffusion.steering.clusters import Cluster, Steering
from services.diffusion.steering.losses import ceiling_loss, floor_loss, rarity_loss

SHELL_BITS = 0.5
ANCHOR_RAISE = 4.0
FOLLOWED = 0.25  # a loss: no more than half of the spread of plain samples is missing
NEWS = 0.2  # the unit in which d² falls short of what it is to somebody who has seen nothing, as a share
TYPICAL, LITTLE, MUCH = 0.5, 0.05, 0.95  # quantiles of held-out samples


@dataclass(frozen=True)
class Figures:
    """Per row and differentiable: projection, squared distance, cosine to the prompt, residual."""

    y: Float[Tensor, "rows rank"]
    d2: Float[Tensor, "rows"]
    cosine: Float[Tensor, "rows"]
    residual: Float[Tensor, "rows"]

    @classmethod
    def of(
        cls, density: DensityModel, image_embeds: Float[Tensor, "rows dim"], text_embeds: Float[Tensor, "1 dim"]
    ) -> "Figures":
        y = density.subspace.project(image_embeds)
        cosine = cosine_similarity(image_embeds.double(), text_embeds.double())
        return cls(y, density.mixture.d2(y), cosine, density.residual(image_embeds))

    def table(self, density: DensityModel) -> Float[Tensor, "5 rows"]:
        """d², cosine, the residual's quantile and both coordinates, to be read at once."""
        columns = [self.d2, self.cosine, density.residual_quantiles(self.residual), *density.coordinates(self.y).T]
        return torch.stack(columns).detach()


@dataclass(frozen=True)
class Shell:
    """`lowest` ≤ d² ≤ `highest`, from the wanted bits to SHELL_BITS more; `spread` is the unit of distance to it.

    One for all rows, or a value for each.
    """

    lowest: Float[Tensor, "rows"] | float
    highest: Float[Tensor, "rows"] | float
    spread: Float[Tensor, "rows"] | float

    @classmethod
    def of(cls, density: DensityModel, bits: float) -> "Shell":
        typical, high = density.survival.value(0.5), density.survival.value(0.1)
        lowest, highest = density.d2_at(bits), density.d2_at(bits + SHELL_BITS)
        return cls(lowest, highest, max(high, lowest) - typical)

    @classmethod
    def of_rows(cls, shells: Sequence["Shell"], device: torch.device) -> "Shell":
        """One shell for each row, as one."""
        return cls(*torch.tensor([astuple(shell) for shell in shells], dtype=torch.float64, device=device).T)

    def off(self, d2: float) -> float:
        """How far d² is from the middle."""
        return abs(d2 - float(self.lowest + self.highest) / 2)

    def holds(self, d2: Float[Tensor, "rows"]) -> Bool[Tensor, "rows"]:
        return (self.lowest <= d2) & (d2 <= self.highest)

    def loss(self, d2: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
        return rarity_loss(d2, (self.lowest + self.highest) / 2, self.spread)


@dataclass(frozen=True)
class Pull:
    """Toward a cluster (`sign` 1) or away from it (−1): likeness from what is typical of plain samples to the wished.

    The wished is what 19 in 20 plain samples do not come to, and toward a cluster half-way from there to its own
    direction: what is rare is beyond plain samples in any case. A weight is that of the loss; one above 1 takes the
    wished further, too, half of what is left for a weight of 2: a wish that is met has no force, whatever its weight.
    """

    cluster: Cluster
    sign: int
    typical: float
    wished: float
    spread: float

    @classmethod
    def of(cls, density: DensityModel, cluster: Cluster, sign: int) -> "Pull":
        _, typical, much = quantiles(sign * cluster.likeness(density.held_out))
        wished = (much + 1) / 2 if sign > 0 else much
        return cls(cluster, sign, typical, wished + max(cluster.weight - 1, 0) * (1 - wished) / 2, much - typical)

    def likeness(self, y: Float[Tensor, "rows rank"]) -> Float[Tensor, "rows"]:
        return self.sign * self.cluster.likeness(y)

    def loss(self, y: Float[Tensor, "rows rank"]) -> Float[Tensor, "rows"]:
        return self.cluster.weight * floor_loss(self.likeness(y), self.wished, self.spread)


class Objective:
    """The calibrated loss: every term is measured in what held-out samples of the density have.

    Hinges at their 5% and 95% points keep the concept and the baseline's subspace.
    """

    def __init__(self, density: DensityModel, bits: float, steering: Steering) -> None:
        self.density = density
        self.shell = Shell.of(density, bits)
        self.anchors = quantiles(density.anchors)
        self.residuals = quantiles(density.residuals)
        self.avoid = [Pull.of(density, cluster, -1) for cluster in steering.avoid]
        self.toward = [Pull.of(density, cluster, 1) for cluster in steering.toward]
        nothing_seen = density.subspace.mean[None][:0]
        self.beliefs = (steering.belief, Belief.of(density, nothing_seen)) if steering.belief else None

    def loss(self, figures: Figures, strict: Bool[Tensor, "rows"], shell: Shell | None = None) -> Float[Tensor, "rows"]:
        """One value per row; a strict row is held to a typical sample's cosine, with ANCHOR_RAISE times the force.

        `shell` is of rows that are not all drawn to the same one.
        """
        return (shell or self.shell).loss(figures.d2) + self.kept(figures, strict) + self._wishes(figures.y)

    def arrived(self, figures: Figures, shell: Shell | None = None) -> Bool[Tensor, "rows"]:
        """As rare as wanted, and where the wishes count as followed."""
        return (shell or self.shell).holds(figures.d2) & (self._wishes(figures.y) <= FOLLOWED)

    def kept(self, figures: Figures, strict: Bool[Tensor, "rows"]) -> Float[Tensor, "rows"]:
        """The pull back: no further from the words and from the components than 19 in 20 plain samples are."""
        little, typical, much = self.anchors[0], self.anchors[1], self.residuals[2]
        anchor = floor_loss(figures.cosine, little + strict * (typical - little), typical - little)
        return (1 + strict * (ANCHOR_RAISE - 1)) * anchor + ceiling_loss(figures.residual, much, much)

    def _wishes(self, y: Float[Tensor, "rows rank"]) -> Float[Tensor, "rows"]:
        return torch.stack([pull.loss(y) for pull in self.avoid + self.toward] + [self._unseen(y)]).sum(0)

    def astray(self, image_embeds: Float[Tensor, "images dim"]) -> list[str]:
        """Wishes that an image does not follow more than half of plain samples do, a sentence each."""
        y, found = self.density.subspace.project(image_embeds), []
        for name, pulls in (("avoid", self.avoid), ("toward", self.toward)):
            for pull in pulls:
                if missed := int((pull.likeness(y) <= pull.typical).sum()):
                    place = f"{name} {pull.cluster.place}"
                    found.append(f"{missed} of {len(y)} images do not follow {place} more than plain samples do")
        return found

    def _unseen(self, y: Float[Tensor, "rows rank"]) -> Float[Tensor, "rows"]:
        """As surprising to somebody who has seen the history as to somebody who has seen nothing: a direction."""
        if self.beliefs is None:
            return y.new_zeros(len(y))
        seen, unseen = self.beliefs
        return floor_loss(seen.d2(y) / unseen.d2(y), 1.0, NEWS)


def quantiles(values: Float[Tensor, "held_out"]) -> tuple[float, float, float]:
    """The LITTLE, TYPICAL and MUCH points."""
    little, typical, much = values.quantile(values.new_tensor([LITTLE, TYPICAL, MUCH])).tolist()
    return little, typical, much
