"""How far a density model holds: against chi-square, in its tail, on fresh samples, and with fewer samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest, chi2, genpareto, kstest, pearsonr
from torch import Tensor

from services.diffusion.density.calibration import Survival
from services.diffusion.density.fit import Report, draw_baseline, fit_embeddings
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.model import Kandinsky

FRESH = 5000
SIZES = (500, 1000, 2000, 3000, 5000)
CHECKED_BITS = (5.0, 7.0, 9.0, 10.0)
RARE = 0.001
RESAMPLES = 200


@dataclass(frozen=True)
class Distances:
    """Values of d² beside chi-square with as many degrees of freedom as the density has components."""

    mean: float
    standard_deviation: float
    p99: float
    maximum: float
    kolmogorov_smirnov: float

    @classmethod
    def of(cls, d2: np.ndarray, rank: int) -> "Distances":
        """Figures of (n,) values."""
        distance = kstest(d2, chi2(rank).cdf).statistic
        return cls(*(float(x) for x in (d2.mean(), d2.std(), np.quantile(d2, 0.99), d2.max(), distance)))


@dataclass(frozen=True)
class Tail:
    """The generalised Pareto above `threshold`; the p-value is of fresh excesses under it."""

    threshold: float
    shape: float
    scale: float
    excesses: int
    quantile_correlation: float
    fresh_excesses: int
    fresh_kolmogorov_smirnov: float
    fresh_p_value: float

    @classmethod
    def of(cls, survival: Survival, fresh: np.ndarray) -> "Tail":
        """Held-out excesses by their correlation with the fitted quantiles (Filliben 1975), fresh ones by KS."""
        fitted = genpareto(survival.shape, scale=survival.scale)
        excess, fresh_excess = (
            values[values > survival.threshold] - survival.threshold for values in (survival.values, fresh)
        )
        middle = (np.arange(len(excess)) + 0.5) / len(excess)
        correlation = pearsonr(excess, fitted.ppf(middle)).statistic
        test = kstest(fresh_excess, fitted.cdf)
        return cls(
            threshold=survival.threshold,
            shape=survival.shape,
            scale=survival.scale,
            excesses=len(excess),
            quantile_correlation=float(correlation),
            fresh_excesses=len(fresh_excess),
            fresh_kolmogorov_smirnov=float(test.statistic),
            fresh_p_value=float(test.pvalue),
        )


@dataclass(frozen=True)
class Claim:
    """A rarity in bits, the share of fresh samples that reach it, and the exact 95% interval of that share."""

    bits: float
    d2: float
    claimed: float
    observed: float
    low: float
    high: float
    holds: bool

    @classmethod
    def check(cls, survival: Survival, bits: float, fresh: np.ndarray) -> "Claim":
        """Clopper & Pearson (1934); `holds` when the claimed share lies in the interval."""
        claimed = 2.0**-bits
        d2 = survival.value(claimed)
        reached = binomtest(int((fresh >= d2).sum()), len(fresh))
        low, high = reached.proportion_ci(0.95, method="exact")
        return cls(bits, d2, claimed, float(reached.statistic), float(low), float(high), bool(low <= claimed <= high))


@dataclass(frozen=True)
class Size:
    """A density of fewer samples: nats per fresh sample, and the d² at 99.9% with its 95% bootstrap interval."""

    samples: int
    parts: int
    log_likelihood: float
    d2: float
    low: float
    high: float

    @classmethod
    def of(cls, density: DensityModel, fresh: Tensor) -> "Size":
        """Measure a fitted density on (n, dim) fresh embeddings."""
        survival, rng = density.survival, np.random.default_rng(density.seed)
        resampled = [Survival.fit(rng.choice(survival.values, len(survival.values))) for _ in range(RESAMPLES)]
        low, high = np.quantile([one.value(RARE) for one in resampled], [0.025, 0.975])
        parts, likelihood = len(density.mixture.weights), log_likelihood(density, fresh)
        return cls(density.samples, parts, likelihood, survival.value(RARE), float(low), float(high))


@dataclass(frozen=True)
class ConceptReport:
    """Every figure of one density; `variance` is the share of the fresh samples' that the first components keep."""

    concept: str
    prompt: str
    samples: int
    fresh: int
    rank: int
    variance_kept: float
    parts: int
    held_out: Distances
    gaussian: Distances
    tail: Tail
    claims: list[Claim]
    sizes: list[Size]
    variance: list[float]


def measure(
    model: Kandinsky,
    density: DensityModel,
    subject: Subject,
    report: Report,
    *,
    fresh: int = FRESH,
    sizes: Sequence[int] = SIZES,
) -> ConceptReport:
    """Measure the subject's density on `fresh` samples of another seed; `gaussian` is one Gaussian's d² of these."""
    unseen = draw_baseline(model, subject, fresh, density.seed + 1, report)
    d2, y, rank = density.d2(unseen).numpy(), density.subspace.project(unseen), len(density.subspace.components)
    return ConceptReport(
        concept=subject.concept,
        prompt=subject.prompt,
        samples=density.samples,
        fresh=fresh,
        rank=rank,
        variance_kept=density.variance_kept,
        parts=len(density.mixture.weights),
        held_out=Distances.of(density.survival.values, rank),
        gaussian=Distances.of(density.mixture.gaussian().d2(y).numpy(), rank),
        tail=Tail.of(density.survival, d2),
        claims=[Claim.check(density.survival, bits, d2) for bits in CHECKED_BITS],
        sizes=_curve(model, density, subject, unseen, sizes, report),
        variance=(y.square().sum(0).cumsum(0) / (unseen - density.subspace.mean).square().sum()).tolist(),
    )


def log_likelihood(density: DensityModel, image_embeds: Tensor) -> float:
    """Nats per (n, dim) embedding in the whole space, so that densities of different components compare.

    Beside the components stands an isotropic Gaussian (Tipping & Bishop 1999).
    """
    outside = image_embeds.shape[1] - len(density.subspace.components)
    variance = float(density.residuals.mean()) / outside
    beside = outside * math.log(2 * math.pi * variance) + density.residual(image_embeds) / variance
    return float((density.log_prob(image_embeds) - beside / 2).mean())


def _curve(
    model: Kandinsky, density: DensityModel, subject: Subject, unseen: Tensor, sizes: Sequence[int], report: Report
) -> list[Size]:
    """The same density of the first samples of its own seed."""
    drawn, points = draw_baseline(model, subject, max(sizes), density.seed, report), []
    for done, samples in enumerate(sizes):
        report("curve", done, len(sizes), None)
        fitted = fit_embeddings(
            drawn[:samples],
            torch.zeros(samples, dtype=torch.float64),  # the anchors play no part here
            subject=subject,
            model_fingerprint=density.model_fingerprint,
            seed=density.seed,
        )
        points.append(Size.of(fitted, unseen))
    report("curve", len(sizes), len(sizes), None)
    return points
