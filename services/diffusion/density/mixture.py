"""A Gaussian mixture in the principal components of image embeddings, differentiable in the embedding."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Subspace:
    """The principal components of a baseline; the rows of `components` are orthonormal."""

    mean: Float[Tensor, "dim"]
    components: Float[Tensor, "rank dim"]

    def project(self, image_embeds: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch rank"]:
        """y = W(z − z̄)."""
        return (image_embeds.double() - self.mean) @ self.components.T

    def residual(self, image_embeds: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
        """q = ‖z − z̄ − Wᵀy‖²: what the components do not see."""
        outside = image_embeds.double() - self.mean - self.project(image_embeds) @ self.components
        return outside.square().sum(-1)


@dataclass(frozen=True)
class Mixture:
    """Weights, means and precision factors as scikit-learn has them; one part is the paper's Gaussian."""

    weights: Float[Tensor, "parts"]
    means: Float[Tensor, "parts rank"]
    precisions_cholesky: Float[Tensor, "parts rank rank"]

    def log_peaks(self) -> Float[Tensor, "parts"]:
        """log w_j + log N(μ_j; μ_j, Σ_j), in nats."""
        log_det = self.precisions_cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.weights.log() + log_det - 0.5 * self.means.shape[1] * math.log(2 * math.pi)

    def log_prob(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
        """log Σ_j w_j N(y; μ_j, Σ_j), in nats."""
        whitened = torch.einsum("bjk,jkl->bjl", y[:, None] - self.means, self.precisions_cholesky)
        return torch.logsumexp(self.log_peaks() - 0.5 * whitened.square().sum(-1), dim=1)

    def d2(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
        """−2 (log p(y) − log Σ_j w_j N(μ_j; μ_j, Σ_j)): never below 0, and for one part exactly yᵀΣ⁻¹y."""
        return 2 * (torch.logsumexp(self.log_peaks(), dim=0) - self.log_prob(y))

    def moments(self) -> tuple[Float[Tensor, "rank"], Float[Tensor, "rank rank"]]:
        """Mean and covariance of the whole."""
        mean = self.weights @ self.means
        offsets, roots = self.means - mean, torch.linalg.inv(self.precisions_cholesky)  # Σ_j = rootᵀ root
        within = torch.einsum("j,jlk,jlm->km", self.weights, roots, roots)
        between = torch.einsum("j,jk,jm->km", self.weights, offsets, offsets)
        return mean, within + between

    def gaussian(self) -> "Mixture":
        """The one Gaussian of the same mean and covariance.

        The M step of EM keeps its samples' moments, so this is the Gaussian that the same samples give.
        """
        mean, covariance = self.moments()
        factor = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
        return Mixture(torch.ones_like(self.weights[:1]), mean[None], factor[None])
