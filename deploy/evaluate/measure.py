"""From finished units to rows: one for each picture, one for each method and concept, one for each method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
from jaxtyping import Float

from deploy.evaluate.case import Case
from deploy.evaluate.features import Features, Probe
from deploy.evaluate.metrics import (
    fid,
    kid,
    median_interval,
    nearest_distances,
    total_variance,
    vendi_score,
    wilson,
)
from deploy.evaluate.units import Finished
from services.diffusion.checkers.open_clip import validity_of
from services.diffusion.steering.objective import Figures
from services.diffusion.trials import MIN_VALIDITY

Row = dict[str, Any]
ALL = "all"


@dataclass(frozen=True)
class Measured:
    """A unit's rows, its features and what they cost."""

    rows: list[Row]
    features: Float[np.ndarray, "images width"]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Yardstick:
    """What units are measured with: features, the judge trained on them, and features of other plain samples."""

    features: Features
    judge: Probe
    plain: Mapping[str, Float[np.ndarray, "images width"]]

    def measure(self, case: Case, finished: Finished) -> Measured:
        """Every figure of every picture; rarity, anchor and residual are those of the plain concept's density."""
        features, concept = self.features(finished.sample.images), case.subject.concept
        reading = case.checker.reading(concept)
        columns = _density_columns(case, finished) | {
            "validity_scorer": validity_of(case.checker, finished.sample.images, concept, reading),
            "validity_judge": self.judge.p_valid(features, case.subject.concept).tolist(),
            "nearest_plain": nearest_distances(features, self.plain[case.subject.concept]).tolist(),
        }
        place = {"method": finished.unit.method, "concept": case.subject.concept, "group_seed": finished.unit.seed}
        rows = [
            place | {"image": index + 1, "seed": seed} | {name: values[index] for name, values in columns.items()}
            for index, seed in enumerate(finished.sample.seeds)
        ]
        return Measured(rows, features, finished.wall_s, finished.cpu_s)


def _density_columns(case: Case, finished: Finished) -> dict[str, list[float]]:
    """Columns of figures, a value per picture; `residual` is a quantile of the baseline's."""
    device = case.model.device
    density, image_embeds = case.density.to(device), finished.sample.image_embeds.to(device)
    figures = Figures.of(density, image_embeds, case.model.encode_prompt(case.subject.text).text_embeds)
    d2 = figures.d2.tolist()
    return {
        "d2": d2,
        "percentile": [density.percentile(x) for x in d2],
        "bits": [density.bits(x) for x in d2],
        "residual": density.residual_quantiles(figures.residual).tolist(),
        "anchor": figures.cosine.tolist(),
    }


def set_row(method: str, concept: str, units: Sequence[Measured], target_bits: float) -> Row:
    """A method's figures over some units: medians and rates over all pictures, spread within a unit, on average."""
    rows = [row for unit in units for row in unit.rows]
    valid = [row["validity_judge"] >= MIN_VALIDITY for row in rows]
    scored = [row["validity_scorer"] >= MIN_VALIDITY for row in rows if row["validity_scorer"] is not None]
    reached = [row["bits"] >= target_bits for row in rows]
    both = sum(v and r for v, r in zip(valid, reached, strict=True))
    wall_s, cpu_s = sum(unit.wall_s for unit in units), sum(unit.cpu_s for unit in units)
    return (
        {"method": method, "concept": concept, "images": len(rows)}
        | _interval("bits", median_interval(_column(rows, "bits")))
        | _interval("valid_judge", wilson(sum(valid), len(rows)))
        | {"valid_scorer": fmean(scored) if scored else None}
        | _interval("valid_and_rare", wilson(both, len(rows)))
        | {"vendi": fmean(vendi_score(unit.features) for unit in units)}
        | {"total_variance": fmean(total_variance(unit.features) for unit in units)}
        | _interval("nearest_plain", median_interval(_column(rows, "nearest_plain")))
        | {name: median(_column(rows, name)) for name in ("d2", "percentile", "residual", "anchor")}
        | {"wall_s": wall_s, "cpu_s": cpu_s, "per_second": both / wall_s, "per_cpu_second": both / cpu_s}
    )


def set_rows(
    method: str, units: Mapping[str, Sequence[Measured]], plain: Mapping[str, Any], target_bits: float
) -> list[Row]:
    """A row for each concept and one over all of them; KID is to the concept's plain samples, FID to all of them."""
    own = {concept: np.concatenate([unit.features for unit in some]) for concept, some in units.items()}
    kids = {concept: kid(features, plain[concept]) for concept, features in own.items()}
    rows = [
        set_row(method, concept, some, target_bits) | {"kid": kids[concept], "fid": None}
        for concept, some in units.items()
    ]
    everything = set_row(method, ALL, [unit for some in units.values() for unit in some], target_bits)
    distance = fid(np.concatenate(list(own.values())), np.concatenate([plain[concept] for concept in own]))
    return [*rows, everything | {"kid": fmean(kids.values()), "fid": distance}]


def _column(rows: Iterable[Row], name: str) -> Float[np.ndarray, "images"]:
    return np.array([row[name] for row in rows])


def _interval(name: str, interval: tuple[float, float, float]) -> Row:
    value, low, high = interval
    return {name: value, f"{name}_low": low, f"{name}_high": high}
