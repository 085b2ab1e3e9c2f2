"""One picture of a density: its d², the tail, the variance that it keeps, and what more samples give."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import chi2, genpareto

from deploy.local.densities.report import ConceptReport
from services.diffusion.density.calibration import TAIL_SHARE, Survival

_OURS, _REFERENCE = "#3056d3", "#d9622b"


def draw_density(report: ConceptReport, survival: Survival, path: Path) -> None:
    """Write the four panels as a PNG of 1,000 × 700 pixels."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(
        f"{report.concept}: {report.samples} samples, k = {report.rank}, parts of the mixture: {report.parts}"
    )
    panels = figure.subplots(2, 2)
    _distances(panels[0, 0], survival.values, report.rank)
    _tail(panels[0, 1], report, survival)
    _variance(panels[1, 0], report)
    _sizes(panels[1, 1], report)
    for axes, corner in zip(panels.flat, ("upper right", "lower left", "lower right", "lower right"), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc=corner)
    figure.savefig(path, dpi=100)


def _distances(axes: Axes, d2: np.ndarray, rank: int) -> None:
    axes.hist(d2, bins=60, density=True, color=_OURS, alpha=0.5, label="held-out samples")
    x = np.linspace(0, d2.max(), 400)
    axes.plot(x, chi2(rank).pdf(x), color=_REFERENCE, label="chi-square of k")
    axes.set(title="Distance", xlabel="d²", ylabel="density")


def _tail(axes: Axes, report: ConceptReport, survival: Survival) -> None:
    n, tail = len(survival.values), report.tail
    axes.plot(survival.values, 1 - (np.arange(n) + 0.5) / n, ".", ms=3, color=_OURS, label="held-out samples")
    x = np.linspace(tail.threshold, 1.2 * survival.values.max(), 400)
    pareto = TAIL_SHARE * genpareto.sf(x - tail.threshold, tail.shape, scale=tail.scale)
    axes.plot(x, pareto, color=_REFERENCE, label="generalised Pareto")
    observed = np.array([(c.d2, c.observed, c.observed - c.low, c.high - c.observed) for c in report.claims]).T
    axes.errorbar(
        observed[0], observed[1], observed[2:], fmt="k_", capsize=3, label=f"{report.fresh} fresh samples, 95%"
    )
    axes.set(title="Tail", xlabel="d²", ylabel="P(D² ≥ d²)", yscale="log", ylim=(1e-4, 1.2))


def _variance(axes: Axes, report: ConceptReport) -> None:
    axes.plot(range(1, report.rank + 1), report.variance, color=_OURS, label="of fresh samples")
    axes.axhline(report.variance_kept, color=_REFERENCE, ls="--", label=f"kept in the fit: {report.variance_kept:.1%}")
    axes.set(title="Variance kept", xlabel="components", ylabel="share", ylim=(0, 1.02))


def _sizes(axes: Axes, report: ConceptReport) -> None:
    samples = [size.samples for size in report.sizes]
    axes.plot(samples, [size.log_likelihood for size in report.sizes], "o-", color=_OURS, label="log-likelihood (left)")
    axes.set(title="Samples", xlabel="samples", ylabel="nats per fresh sample")
    right, d2 = axes.twinx(), [size.d2 for size in report.sizes]
    spread = [[size.d2 - size.low for size in report.sizes], [size.high - size.d2 for size in report.sizes]]
    bars = right.errorbar(samples, d2, np.abs(spread), color=_REFERENCE, fmt="s--", capsize=3)
    axes.plot([], [], "s--", color=bars.lines[0].get_color(), label="d² at 99.9% (right)")
    right.set_ylabel("d² at 99.9%, 95% interval")
