"""The report's folder: tables, plots, contact sheets, and one page over them."""

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from deploy.evaluate import plots
from deploy.evaluate.measure import ALL, Row
from deploy.evaluate.units import Unit
from deploy.local.contact_sheet import Row as SheetRow
from deploy.local.contact_sheet import contact_sheet
from deploy.local.pictures import slug

SHEET_COLUMNS = 8
DIGITS = 6


@dataclass(frozen=True)
class Results:
    """What was asked for, a row for each picture and for each set, and the pictures to show."""

    about: dict[str, Any]
    images: list[Row]
    sets: list[Row]
    shown: Mapping[Unit, Sequence[Path]]


def write_report(results: Results, out: Path) -> Path:
    """Write all of it; returns index.html."""
    _write_csv(out / "images.csv", results.images)
    _write_csv(out / "sets.csv", results.sets)
    (out / "results.json").write_text(json.dumps(results.about | {"sets": results.sets}, indent=1))
    drawn = _write_plots(results, out / "plots")
    sheets = _write_sheets(results, out / "sheets")
    page = out / "index.html"
    page.write_text(_page(results, drawn, sheets, out))
    return page


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)


def _short(value: Any) -> Any:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value


def _write_plots(results: Results, folder: Path) -> dict[str, str]:
    """The plots' SVG by name, each in a file as well."""
    drawn = {
        "rarity-validity": plots.rarity_against_validity(results.sets, results.about["target_bits"]),
        "spread": plots.spread(results.sets),
        "rates": plots.rates(results.sets),
    }
    folder.mkdir(exist_ok=True)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg)
    return drawn


def _write_sheets(results: Results, folder: Path) -> dict[str, Path]:
    """A contact sheet for each concept, a row for each method."""
    folder.mkdir(exist_ok=True)
    rows: dict[str, list[SheetRow]] = {}
    for unit, paths in results.shown.items():
        rows.setdefault(unit.concept, []).append(_sheet_row(unit, paths, results.images))
    sheets = {concept: folder / f"{slug(concept)}.png" for concept in rows}
    for concept, path in sheets.items():
        contact_sheet(concept, rows[concept]).save(path)
    return sheets


def _sheet_row(unit: Unit, paths: Sequence[Path], images: Sequence[Row]) -> SheetRow:
    own = [row for row in images if (row["method"], row["concept"], row["group_seed"]) == _place(unit)]
    captions = [f"{row['bits']:.1f} bits · {row['validity_judge']:.0%} valid" for row in own]
    return SheetRow(unit.method, [Image.open(path) for path in paths[:SHEET_COLUMNS]], captions[:SHEET_COLUMNS])


def _place(unit: Unit) -> tuple[str, str, int]:
    return unit.method, unit.concept, unit.seed


def _page(results: Results, drawn: Mapping[str, str], sheets: Mapping[str, Path], out: Path) -> str:
    """The page, with the plots in it and the sheets beside it."""
    environment = Environment(
        loader=PackageLoader("deploy.evaluate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = {concept: [row for row in results.sets if row["concept"] == concept] for concept in [ALL, *sheets]}
    return environment.get_template("index.html.jinja").render(
        about=results.about,
        tables=tables,
        plots={name: base64.b64encode(svg.encode()).decode() for name, svg in drawn.items()},
        sheets={concept: path.relative_to(out).as_posix() for concept, path in sheets.items()},
    )
