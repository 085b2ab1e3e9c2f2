"""What is said of a set of pictures, from features that no method optimises."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.special import entr
from scipy.stats import binomtest, bootstrap
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

CONFIDENCE = 0.95
RESAMPLES = 2000
KID_SUBSETS = 50

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
    """Fréchet distance of two sets (arXiv 1706.08500); compare only figures of equally large sets."""
    statistics = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (features, others)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def kid(features: Rows, others: Rows) -> float:
    """Kernel distance of two sets (arXiv 1801.01401), unbiased for any number of pictures, so it may be below 0."""
    settings = {
        "kid_subsets": KID_SUBSETS,
        "kid_subset_size": min(len(features), len(others)),
        "kid_kernel": "poly",
        "kid_kernel_poly_degree": 3,
        "kid_kernel_poly_gamma": None,
        "kid_kernel_poly_coef0": 1.0,
        "rng_seed": 0,
        "verbose": False,
    }
    both = (torch.from_numpy(rows) for rows in (features, others))
    return float(kid_features_to_metric(*both, **settings)[KEY_METRIC_KID_MEAN])


def _unit(features: Rows) -> Rows:
    unit: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit
