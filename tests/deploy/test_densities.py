"""Laws of the report on densities: its figures against scipy, its verdicts, and what it leaves on disk."""

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from deploy.local.densities.figure import draw_density
from deploy.local.densities.pages import write_pages
from deploy.local.densities.report import Claim, ConceptReport, Distances, Tail, log_likelihood, measure
from services.diffusion.density.calibration import TAIL_SHARE, Survival
from services.diffusion.density.fit import draw_baseline, fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.model import Kandinsky

MINI = Path(__file__).parents[2] / "deploy/checkpoints/rarebit-mini"
SUBJECT = Subject("a/chair", "a photo of a {}")
SAMPLES, FRESH, SIZES = 500, 500, (250, 500)


def silent(_phase: str, _step: int, _steps: int, _bits: float | None) -> None:
    """A report that goes nowhere."""


@pytest.fixture(scope="module")
def model() -> Kandinsky:
    return Kandinsky.load(str(MINI / "prior"), str(MINI / "decoder"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def density(model: Kandinsky) -> DensityModel:
    return fit_density(model, SUBJECT, samples=SAMPLES, seed=0, report=silent)


@pytest.fixture(scope="module")
def report(model: Kandinsky, density: DensityModel) -> ConceptReport:
    return measure(model, density, SUBJECT, silent, fresh=FRESH, sizes=SIZES)


def test_distances_of_chi_square_are_those_of_chi_square():
    law = stats.chi2(20)
    found = Distances.of(law.ppf((np.arange(20_000) + 0.5) / 20_000), 20)
    assert found.mean == pytest.approx(20, rel=1e-3)
    assert found.standard_deviation == pytest.approx(math.sqrt(40), rel=1e-2)
    assert found.p99 == pytest.approx(law.ppf(0.99), rel=1e-3)
    assert found.kolmogorov_smirnov < 1e-3


def test_figures_are_what_scipy_gives(report, density, model):
    held_out, k = density.survival.values, len(density.subspace.components)
    assert report.held_out.maximum == held_out.max()
    assert report.held_out.kolmogorov_smirnov == stats.kstest(held_out, "chi2", args=(k,)).statistic
    fresh = density.d2(draw_baseline(model, SUBJECT, FRESH, 1, silent)).numpy()
    excess = fresh[fresh > report.tail.threshold] - report.tail.threshold
    test = stats.kstest(excess, "genpareto", args=(report.tail.shape, 0, report.tail.scale))
    assert (report.tail.fresh_excesses, report.tail.fresh_p_value) == (len(excess), test.pvalue)
    for claim in report.claims:
        assert claim.observed == np.mean(fresh >= density.d2_at(claim.bits))
        low, high = stats.beta.ppf([0.025, 0.975], *_clopper_pearson(round(claim.observed * FRESH)))
        assert (claim.low, claim.high) == pytest.approx((np.nan_to_num(low), high), abs=1e-9)


def _clopper_pearson(reached: int) -> tuple[list[int], list[int]]:
    """The beta parameters of both ends."""
    return [reached, reached + 1], [FRESH - reached + 1, FRESH - reached]


def test_variance_and_likelihood_are_those_of_the_samples(report, density, model):
    fresh = draw_baseline(model, SUBJECT, FRESH, 1, silent)
    total = (fresh - density.subspace.mean).square().sum()
    assert report.variance[-1] == pytest.approx(float(1 - density.residual(fresh).sum() / total))
    whole = report.sizes[-1]
    assert whole.log_likelihood == log_likelihood(density, fresh)
    assert (whole.samples, whole.parts, whole.d2) == (SAMPLES, report.parts, density.survival.value(0.001))
    assert whole.low < whole.d2 < whole.high


def test_the_likelihood_of_the_whole_space_is_that_of_a_normal_law(density, model):
    one = replace(density, mixture=density.mixture.gaussian())
    z = draw_baseline(model, SUBJECT, 250, 2, silent)
    w, mean = density.subspace.components.numpy(), density.subspace.mean.numpy()
    inverse = np.linalg.inv(one.mixture.precisions_cholesky[0].numpy())
    beside = float(density.residuals.mean()) / (len(mean) - len(w))
    covariance = w.T @ inverse.T @ inverse @ w + beside * (np.eye(len(mean)) - w.T @ w)
    center = mean + one.mixture.means[0].numpy() @ w
    expected = stats.multivariate_normal(center, covariance).logpdf(z.numpy()).mean()
    assert log_likelihood(one, z) == pytest.approx(expected)


def test_a_right_survival_holds_and_a_wrong_one_is_flagged():
    law = stats.expon(scale=4)
    right, fresh = Survival.fit(law.rvs(20_000, random_state=0)), law.rvs(5000, random_state=1)
    wrong = replace(right, values=right.values * 0.8, threshold=right.threshold * 0.8, scale=right.scale * 0.8)
    for bits in (5.0, 7.0):
        assert Claim.check(right, bits, fresh).holds
        claim = Claim.check(wrong, bits, fresh)
        assert not claim.holds
        assert claim.low > 2.0**-bits
    assert Tail.of(right, fresh).fresh_p_value > 0.01 > Tail.of(wrong, fresh).fresh_p_value


def test_the_tail_correlates_with_its_quantiles_only_if_it_is_the_tail():
    law, n = stats.genpareto(0.1, scale=3), 2000
    values = np.sort(np.r_[np.linspace(-10, 0, 9 * n), law.rvs(n, random_state=0)])
    right = Survival(values, 0.0, 0.1, 3.0)
    wrong = replace(right, shape=2.0)
    assert Tail.of(right, values).quantile_correlation > 0.98 > Tail.of(wrong, values).quantile_correlation
    assert len(values[values > 0]) == pytest.approx(TAIL_SHARE * len(values))


def test_the_same_density_gives_the_same_report(report, density, model):
    again = measure(model, density, SUBJECT, silent, fresh=FRESH, sizes=SIZES[:1])
    assert again == replace(report, sizes=report.sizes[:1])


def test_the_page_its_pictures_and_its_figures_exist_and_agree(report, density, tmp_path):
    draw_density(report, density.survival, tmp_path / "a-chair.png")
    page = write_pages([report], tmp_path).read_text()
    with Image.open(tmp_path / "a-chair.png") as picture:
        assert picture.size == (1000, 700)
    assert "(a-chair.png)" in page
    (figures,) = json.loads((tmp_path / "densities.json").read_text())
    assert figures["claims"][0]["observed"] == report.claims[0].observed
    with (tmp_path / "densities.csv").open() as file:
        rows = {row["figure"]: row["value"] for row in csv.DictReader(file)}
    assert float(rows["tail.scale"]) == report.tail.scale
    assert float(rows["sizes.1.log_likelihood"]) == report.sizes[1].log_likelihood
    assert f"{report.tail.scale:.2f}" in page


def test_missing_extra_is_one_sentence(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('none', name='matplotlib')")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [str(Path(sys.executable).with_name("rarebit")), "densities", "chair", "--out", str(tmp_path / "report")]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "rarebit: there is no package matplotlib: pip install 'rarebit[evaluate]'\n"
