"""The report's plots, as SVG whose bytes depend on nothing but the figures."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.evaluate.measure import ALL, Row

INK, SOFT, LINE = "#1c1c1e", "#76767e", "#dcdce0"
COLOURS = ("#8e8e93", "#c58a2b", "#3f7d58", "#3a6ea5", "#7fa8d1", "#b5413a", "#7a5195", "#4a4a4f")
STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "svg.hashsalt": "rarebit",
}


def rarity_against_validity(sets: Sequence[Row], target_bits: float) -> str:
    """Median bits and the judge's validity rate of each method, with 95% intervals; up and right is better."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("median rarity (bits)", "valid, says the independent judge")
        axes.axvline(target_bits, color=LINE, zorder=0)
        axes.set_ylim(0, 1.05)
        for row, colour in zip(_whole(sets), COLOURS, strict=False):
            xerr, yerr = _reach(row, "bits"), _reach(row, "valid_judge")
            axes.errorbar(row["bits"], row["valid_judge"], yerr, xerr, "o", color=colour, label=row["method"])
        axes.legend(frameon=False, loc="lower left")
        return _svg(figure)


def spread(sets: Sequence[Row]) -> str:
    """The Vendi score of each method: a dot for each concept, a bar for their mean."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("Vendi score of one call's images", None)
        for place, (row, colour) in enumerate(zip(_whole(sets), COLOURS, strict=False)):
            own = [r["vendi"] for r in sets if r["method"] == row["method"] and r["concept"] != ALL]
            axes.barh(place, row["vendi"], color=colour, alpha=0.35)
            axes.plot(own, [place] * len(own), "o", color=colour, markersize=3)
        return _by_method(figure, axes, sets)


def rates(sets: Sequence[Row]) -> str:
    """Valid and rare images for each second of sampling."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("valid and rare images per second", None)
        for place, (row, colour) in enumerate(zip(_whole(sets), COLOURS, strict=False)):
            axes.barh(place, row["per_second"], color=colour)
            axes.annotate(f" {row['per_second']:.2g}", (row["per_second"], place), va="center")
        return _by_method(figure, axes, sets)


def _whole(sets: Sequence[Row]) -> list[Row]:
    return [row for row in sets if row["concept"] == ALL]


def _reach(row: Row, name: str) -> list[list[float]]:
    """The interval as matplotlib wants it: how far below and above."""
    return [[row[name] - row[f"{name}_low"]], [row[f"{name}_high"] - row[name]]]


def _axes(xlabel: str, ylabel: str | None) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _by_method(figure: Figure, axes: Axes, sets: Sequence[Row]) -> str:
    names = [row["method"] for row in _whole(sets)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    metadata: dict[str, Any] = {"Date": None}
    figure.savefig(file, format="svg", metadata=metadata)
    return file.getvalue()
