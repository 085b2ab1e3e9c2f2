"""Percentiles and bits mean what they say, also where there are hardly any samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.diffusion.density.calibration import TAIL_SHARE, Survival

KNOWN = {"chi2": stats.chi2(10), "student": stats.f(10, 6), "exponential": stats.expon()}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("probability", "bits_off"), [(0.5, 0.1), (0.1, 0.25), (0.01, 0.5), (0.001, 1.0)])
def test_rarity_is_calibrated_on_known_tails(name, probability, bits_off):
    """Averaged over draws of 2,000: light tails, and those of a Student-t in ten dimensions."""
    known, errors = KNOWN[name], []
    for seed in range(8):
        survival = Survival.fit(known.rvs(2000, random_state=seed))
        errors.append(survival.bits(float(known.isf(probability))) + np.log2(probability))
    assert abs(np.mean(errors)) < bits_off
    assert np.max(np.abs(errors)) < 3 * bits_off


CHI2 = Survival.fit(stats.chi2(10).rvs(500, random_state=0))
UNIFORM = Survival.fit(stats.uniform().rvs(500, random_state=0))


@given(st.floats(1e-9, 0.998))
def test_value_and_bits_are_inverse(probability):
    assert 2 ** -CHI2.bits(CHI2.value(probability)) == pytest.approx(probability, rel=1e-6)


def test_the_tail_goes_on_where_the_samples_end():
    steps = CHI2.threshold + np.array([-1e-9, 1e-9])
    assert [CHI2.bits(float(x)) for x in steps] == pytest.approx([-np.log2(TAIL_SHARE)] * 2, abs=1e-6)


@given(st.floats(-10, 1e9), st.floats(-10, 1e9))
def test_farther_is_never_likelier_and_nothing_is_impossible(a, b):
    """Not even a billion, for samples that all lie below 1."""
    near, far = sorted((a, b))
    assert 0 < UNIFORM.bits(near) <= UNIFORM.bits(far) < np.inf


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match="at least 50 held-out values, got 49"):
        Survival.fit(np.arange(49.0))


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 1.1])
def test_an_impossible_probability_is_refused(probability):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {probability}"):
        Survival.fit(np.arange(50.0)).value(probability)
