"""Fit a density model: sample the prior, keep the main components, let held-out likelihood choose the mixture."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.bounds import MIN_DENSITY_SAMPLES
from services.diffusion.density.calibration import Survival
from services.diffusion.density.mixture import Mixture, Subspace
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.model import Kandinsky

BATCH = 250
HELD_OUT = 0.4
VARIANCE = 0.95
MAX_RANK = 50
PARTS = (1, 2, 4, 8)

Report = Callable[[str, int, int, float | None], None]


def fit_density(model: Kandinsky, subject: Subject, *, samples: int, seed: int, report: Report) -> DensityModel:
    """The density of what the subject gives; `report("fit", drawn, samples, None)`.

    ValueError below MIN_DENSITY_SAMPLES.
    """
    if samples < MIN_DENSITY_SAMPLES:
        raise ValueError(f"a density needs at least {MIN_DENSITY_SAMPLES} samples, got {samples}")
    image_embeds = draw_baseline(model, subject, samples, seed, report)
    anchors = cosine_similarity(image_embeds, model.encode_prompt(subject.text).text_embeds.cpu().double())
    return fit_embeddings(image_embeds, anchors, subject=subject, model_fingerprint=model.fingerprint, seed=seed)


@torch.no_grad()
def draw_baseline(
    model: Kandinsky, subject: Subject, samples: int, seed: int, report: Report
) -> Float[Tensor, "samples dim"]:
    """Image embeddings of one subject, float64 on the CPU."""
    positive, generator = model.encode_prompt(subject.text), torch.Generator().manual_seed(seed)
    drawn: list[Tensor] = []
    for start in range(0, samples, BATCH):
        report("fit", start, samples, None)
        batch = min(BATCH, samples - start)
        image_embeds = model.sample_prior(
            positive, generator, batch, start=subject.start, strength=subject.strength, cached=True
        )
        drawn.append(image_embeds.double().cpu())
    report("fit", samples, samples, None)
    return torch.cat(drawn)


def fit_embeddings(
    image_embeds: Float[Tensor, "samples dim"],
    anchors: Float[Tensor, "samples"],
    *,
    subject: Subject,
    model_fingerprint: str,
    seed: int,
) -> DensityModel:
    """Fit on the first embeddings, calibrate on the rest; `anchors` are their cosines to the prompt."""
    kept = round(len(image_embeds) * (1 - HELD_OUT))
    fitted, held_out = image_embeds[:kept], image_embeds[kept:]
    subspace, variance_kept = fit_subspace(fitted)
    y = subspace.project(held_out)
    mixture = choose_mixture(subspace.project(fitted), y, seed)
    return DensityModel(
        text=subject.text,
        start=subject.start,
        strength=subject.strength,
        model_fingerprint=model_fingerprint,
        samples=len(image_embeds),
        seed=seed,
        variance_kept=variance_kept,
        subspace=subspace,
        mixture=mixture,
        survival=Survival.fit(mixture.d2(y).numpy()),
        anchors=anchors[kept:].sort().values,
        residuals=subspace.residual(held_out).sort().values,
        held_out=y,
    )


def fit_subspace(image_embeds: Float[Tensor, "samples dim"]) -> tuple[Subspace, float]:
    """The fewest components that keep VARIANCE, at most MAX_RANK, and the share of the variance that they keep."""
    pca = PCA(n_components=min(MAX_RANK, *image_embeds.shape), svd_solver="covariance_eigh").fit(image_embeds.numpy())
    kept = np.cumsum(pca.explained_variance_ratio_)
    rank = min(int(np.searchsorted(kept, VARIANCE)) + 1, len(kept))
    components = torch.from_numpy(pca.components_[:rank].copy())
    return Subspace(torch.from_numpy(pca.mean_), components), float(kept[rank - 1])


def choose_mixture(fitted: Float[Tensor, "n rank"], held_out: Float[Tensor, "m rank"], seed: int) -> Mixture:
    """The mixture of PARTS Gaussians, plain or shrunk, that held-out samples are likeliest under."""
    y = fitted.numpy()
    ridge = 1e-4 * float(y.var(0).mean())
    fits = [GaussianMixture(parts, reg_covar=ridge, random_state=seed % 2**32).fit(y) for parts in PARTS]
    candidates = [mixture for fit in fits for mixture in (plain(fit), shrunk(fit, y))]
    return max(candidates, key=lambda mixture: float(mixture.log_prob(held_out).mean()))


def plain(fit: GaussianMixture) -> Mixture:
    """What EM has found."""
    return Mixture(*(torch.from_numpy(a) for a in (fit.weights_, fit.means_, fit.precisions_cholesky_)))


def shrunk(fit: GaussianMixture, y: np.ndarray) -> Mixture:
    """The mixture with each part's covariance drawn to the shape of the whole, the more the fewer samples the part has.

    `y` are the (n, rank) principal components that `fit` has seen; whitened, the whole is the identity, the target of
    Ledoit & Wolf (2004), and rows weighted by √responsibility have the part's covariance. A last linear map gives the
    whole its covariance back, so that one part stays as it is.
    """
    center, scale = y.mean(0), np.sqrt(y.var(0) + fit.reg_covar)
    means, covariances = (fit.means_ - center) / scale, fit.covariances_ / np.outer(scale, scale)
    for mean, covariance, share in zip(means, covariances, fit.predict_proba(y).T, strict=True):
        rows = np.sqrt(share)[:, None] * ((y - center) / scale - mean)
        intensity = ledoit_wolf_shrinkage(rows, assume_centered=True)
        covariance += intensity * (np.trace(covariance) / len(scale) * np.eye(len(scale)) - covariance)
    whole = np.einsum("j,jkl->kl", fit.weights_, covariances) + (means.T * fit.weights_) @ means
    values, vectors = np.linalg.eigh(whole)
    back = scale[:, None] * (vectors / np.sqrt(values)) @ vectors.T
    factors = np.linalg.inv(np.linalg.cholesky(back @ covariances @ back.T)).swapaxes(1, 2).copy()
    return Mixture(*(torch.from_numpy(a) for a in (fit.weights_, center + means @ back.T, factors)))
