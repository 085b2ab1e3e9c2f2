"""`rarebit densities`: measure, draw and write down what the densities of concepts are worth."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy.stats import chi2

from deploy.local.densities.figure import draw_density
from deploy.local.densities.report import ConceptReport, Distances, measure
from deploy.local.in_process import density
from deploy.local.pictures import slug
from services.diffusion.density.fit import Report
from services.diffusion.density.subject import Subject
from services.sampler.models import Models
from services.texts.concepts import DEFAULT_PROMPT


def report_densities(models: Models, concepts: Sequence[str], out: Path, report: Report) -> Path:
    """Measure and draw every concept into `out`; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    measured = []
    for concept in concepts:
        subject = Subject(concept, DEFAULT_PROMPT)
        fitted = density(models, subject, report)
        measured.append(measure(models.model, fitted, subject, report))
        draw_density(measured[-1], fitted.survival, out / f"{slug(concept)}.png")
    return write_pages(measured, out)


def write_pages(reports: Sequence[ConceptReport], out: Path) -> Path:
    """densities.json, densities.csv (one figure a line) and densities.md, whose path is returned."""
    figures = [asdict(report) for report in reports]
    (out / "densities.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    with (out / "densities.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["concept", "figure", "value"])
        lines.writerows((one["concept"], *line) for one in figures for line in _flat(one))
    page = out / "densities.md"
    page.write_text("\n".join(["# Densities", "", *(line for report in reports for line in _section(report))]))
    return page


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested dictionaries and lists with its dotted path."""
    if not isinstance(value, dict | list):
        yield path, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flat(inner, f"{path}.{key}".lstrip("."))


def _section(report: ConceptReport) -> list[str]:
    law, tail = chi2(report.rank), report.tail
    return [
        f"## {report.concept}",
        "",
        f"![The density of {report.concept}]({slug(report.concept)}.png)",
        "",
        f"{report.samples} samples of “{report.prompt.replace('{}', report.concept)}”, {report.rank} components with "
        f"{report.variance_kept:.1%} of the variance, parts of the mixture: {report.parts}.",
        "",
        *_table("d²", "mean", "standard deviation", "99% point", "maximum", "Kolmogorov–Smirnov"),
        _row(f"chi-square, {report.rank} degrees", law.mean(), law.std(), law.ppf(0.99), None, None),
        _distances("the density, held-out samples", report.held_out),
        _distances("one Gaussian, fresh samples", report.gaussian),
        "",
        f"Tail: generalised Pareto above {tail.threshold:.1f}, shape {tail.shape:.3f}, scale {tail.scale:.2f}; "
        f"{tail.excesses} held-out excesses correlate with its quantiles by {tail.quantile_correlation:.4f}, "
        f"{tail.fresh_excesses} fresh ones lie {tail.fresh_kolmogorov_smirnov:.3f} from it "
        f"(Kolmogorov–Smirnov, p = {tail.fresh_p_value:.2g}).",
        "",
        *_table("bits", "d²", "claimed", f"observed in {report.fresh} fresh samples", "95% interval", "holds"),
        *(
            f"| {c.bits:g} | {c.d2:.1f} | {c.claimed:.3%} | {c.observed:.3%} | {c.low:.3%} to {c.high:.3%} "
            f"| {'yes' if c.holds else 'no'} |"
            for c in report.claims
        ),
        "",
        *_table("samples", "parts", "nats per fresh sample", "d² at 99.9%", "95% interval"),
        *(
            f"| {s.samples} | {s.parts} | {s.log_likelihood:.2f} | {s.d2:.1f} | {s.low:.1f} to {s.high:.1f} |"
            for s in report.sizes
        ),
        "",
    ]


def _table(*columns: str) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def _distances(name: str, d: Distances) -> str:
    return _row(name, d.mean, d.standard_deviation, d.p99, d.maximum, d.kolmogorov_smirnov)


def _row(name: str, mean: float, deviation: float, p99: float, maximum: float | None, distance: float | None) -> str:
    ends = ("" if maximum is None else f"{maximum:.1f}", "" if distance is None else f"{distance:.3f}")
    return f"| {name} | {mean:.1f} | {deviation:.1f} | {p99:.1f} | {ends[0]} | {ends[1]} |"
