"""What somebody has seen of a subject, as a distribution: its density is the prior belief, each view updates it."""

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from scipy.stats import f as fisher
from torch import Tensor

from services.diffusion.density.model import DensityModel

PRIOR_VIEWS = 20.0  # the density weighs as much as so many views
HALF_LIFE = 100.0  # of a view's weight, in later views


@dataclass(frozen=True)
class Belief:
    """A Student-t over projections: the predictive distribution of a normal-inverse-Wishart posterior.

    Murphy, Conjugate Bayesian analysis of the Gaussian distribution (2007), section 9; `factor` is the lower Cholesky
    factor of the scale. Float32 values in float64, so that a copy through JSON is exact.
    """

    mean: Float[Tensor, "rank"]
    factor: Float[Tensor, "rank rank"]
    freedom: float

    @classmethod
    def of(cls, density: DensityModel, views: Float[Tensor, "views dim"]) -> "Belief":
        """The belief after these image embeddings, the oldest first; older views have faded."""
        mean, covariance = density.mixture.moments()
        y = density.subspace.project(views.to(mean.device)) - mean
        weight = 0.5 ** (torch.arange(len(y) - 1, -1, -1, dtype=y.dtype) / HALF_LIFE).to(y.device)
        n = float(weight.sum())
        scatter = PRIOR_VIEWS * covariance + (weight * y.T) @ y  # about the density's mean
        total = PRIOR_VIEWS + n
        shift = weight @ y / total
        freedom = PRIOR_VIEWS + 2 + n  # ν₀ = rank + 1 + PRIOR_VIEWS, at which the prior's expectation is the density's
        scatter = scatter - total * torch.outer(shift, shift)
        factor = torch.linalg.cholesky(scatter * (total + 1) / (total * freedom))
        return cls((mean + shift).float().double(), factor.float().double(), freedom)

    def d2(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
        """Squared distance in the belief's scale; differentiable."""
        white: Tensor = torch.linalg.solve_triangular(self.factor, (y - self.mean).T, upper=False)
        return white.square().sum(0)

    def bits(self, y: Float[Tensor, "batch rank"]) -> list[float]:
        """Surprisal −log₂ P(D² ≥ d²) of the predictive: d² / rank has Fisher's F distribution."""
        rank = len(self.mean)
        tails = fisher.logsf((self.d2(y) / rank).cpu().numpy(), rank, self.freedom)
        return [float(-tail / log(2)) for tail in tails]
