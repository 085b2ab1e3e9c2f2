"""What is said of a set of pictures, from features that no method optimises."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.special import entr
from scipy.stats import binomtest, bootstrap
from sklearn.metrics.pairwise import polynomial_kernel

CONFIDENCE = 0.95
RESAMPLES = 2000

Rows = Float[np.ndarray, "images width"]


class Interval(NamedTuple):
    """An estimate between the ends of its confidence interval."""

    value: float
    low: float
    high: float


def vendi_score(features: Rows) -> float:
    """exp of the entropy of the cosine kernel's eigenvalues (Friedman & Dieng, arXiv 2210.02410): 1 to images."""
    unit = _unit(features)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / len(unit)).clip(min=0)
    return float(np.exp(entr(eigenvalues).sum()))


def total_variance(features: Rows) -> float:
    """The trace of the covariance of the unit features."""
    return float(_unit(features).var(axis=0, ddof=1).sum())


def nearest_distances(features: Rows, others: Rows) -> Float[np.ndarray, "images"]:
    """Each picture's distance to the nearest of the others, between unit features: 0 to √2 for non-negative ones."""
    nearest: np.ndarray = cdist(_unit(features), _unit(others)).min(axis=1)
    return nearest


def wilson(successes: int, trials: int) -> Interval:
    """A rate with Wilson's 95% interval."""
    result = binomtest(successes, trials)
    interval = result.proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(result.statistic), float(interval.low), float(interval.high))


def median_interval(values: Float[np.ndarray, "images"]) -> Interval:
    """A median with its 95% bootstrap interval; the pictures count as independent."""
    rng = np.random.default_rng(0)
    result = bootstrap(
        (values,), np.median, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=rng
    )
    interval = result.confidence_interval
    return Interval(float(np.median(values)), float(interval.low), float(interval.high))


def fid(features: Rows, others: Rows) -> float:
    """Fréchet distance of two sets (arXiv 1706.08500); compare only figures of equally large sets.

    tr √(Σ₁Σ₂) is the sum of the singular values of one set's centred rows times the other's, which for fewer pictures
    than features is a small matrix; libraries take minutes for the root of a large one.
    """
    mean, other = features.mean(0), others.mean(0)
    own, their = ((rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (features, others))
    overlap = np.linalg.norm(own @ their.T, "nuc")
    return float(((mean - other) ** 2).sum() + (own**2).sum() + (their**2).sum() - 2 * overlap)


def kid(features: Rows, others: Rows) -> float:
    """Kernel distance of two sets (arXiv 1801.01401) with the cubic kernel, unbiased, so that it may be below 0."""
    own, their = (polynomial_kernel(rows, degree=3) for rows in (features, others))
    within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (own, their))
    return float(within - 2 * polynomial_kernel(features, others, degree=3).mean())


def _unit(features: Rows) -> Rows:
    unit: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit
