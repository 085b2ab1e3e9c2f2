"""How rare a value is, learnt from held-out samples: their own distribution, and beyond it a fitted tail."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import genpareto

TAIL_SHARE = 0.1


@dataclass(frozen=True)
class Survival:
    """P(X ≥ x) of a scalar: empirical up to `threshold`, generalised Pareto above it (Pickands 1975).

    `values` are the held-out samples in ascending order; `shape` ≥ 0, so that no finite value is impossible: a fitted
    endpoint would be read off the few largest samples, and an exponential tail understates rarity rather than
    overstating it.
    """

    values: np.ndarray
    threshold: float
    shape: float
    scale: float

    @classmethod
    def fit(cls, values: np.ndarray) -> "Survival":
        """Maximum likelihood on the largest tenth of (n,) values; ValueError below 50 values."""
        if len(values) < 50:
            raise ValueError(f"a tail needs at least 50 held-out values, got {len(values)}")
        ordered = np.sort(np.asarray(values, np.float64))
        threshold = float(np.interp(TAIL_SHARE, _ranks(ordered)[::-1], ordered[::-1]))
        excess = ordered[ordered > threshold] - threshold
        shape, _, scale = genpareto.fit(excess, floc=0.0)
        if shape < 0:
            shape, scale = 0.0, excess.mean()
        return cls(ordered, threshold, float(shape), float(scale))

    def bits(self, x: float) -> float:
        """−log₂ P(X ≥ x), above 0 and finite."""
        if x <= self.threshold:
            return float(-np.log2(np.interp(x, self.values, _ranks(self.values))))
        beyond = genpareto.logsf(x - self.threshold, self.shape, scale=self.scale)
        return float(-np.log2(TAIL_SHARE) - beyond / np.log(2))

    def value(self, probability: float) -> float:
        """The x with P(X ≥ x) = probability; ValueError outside (0, 1)."""
        if not 0 < probability < 1:
            raise ValueError(f"a probability must be between 0 and 1, got {probability}")
        if probability >= TAIL_SHARE:
            return float(np.interp(probability, _ranks(self.values)[::-1], self.values[::-1]))
        return self.threshold + float(genpareto.isf(probability / TAIL_SHARE, self.shape, scale=self.scale))


def _ranks(ordered: np.ndarray) -> np.ndarray:
    """The share of samples at or above each of (n,) ascending values, ends kept off 0 and 1."""
    n = len(ordered)
    return 1 - (np.arange(n) + 0.5) / n
