"""Laws of the density: its mathematics against scipy, its calibration on known data, its artefact."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from services.diffusion.density.fit import (
    PARTS,
    choose_mixture,
    draw_baseline,
    fit_density,
    fit_embeddings,
    plain,
    shrunk,
)
from services.diffusion.density.mixture import Mixture, Subspace
from services.diffusion.density.model import META, WEIGHTS, DensityModel, density_key
from services.diffusion.density.subject import Subject
from services.errors import CheckpointError
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
ELSEWHERE = Subject("4k", SUBJECT.text.replace("4k", "{}"))  # another concept in the same text
ABOUT = {"subject": Subject("handbag", "a {}"), "model_fingerprint": "f", "seed": 0}


def correlated(samples: int, dim: int, seed: int) -> torch.Tensor:
    """Gaussian embeddings with spread-out variances and a mean; the distribution is the same for every seed."""
    mixing = torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(samples, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return noise @ mixing + 3.0


def fitted(z: torch.Tensor) -> DensityModel:
    return fit_embeddings(z, torch.linspace(0, 1, len(z), dtype=torch.float64), **ABOUT)


@pytest.fixture(scope="module")
def gaussian() -> DensityModel:
    return fitted(correlated(4000, 6, seed=0))


def test_log_prob_at_full_rank_matches_scipy():
    z = correlated(500, 4, seed=1).numpy()
    covariance = np.cov(z.T)
    values, vectors = np.linalg.eigh(covariance)
    subspace = Subspace(torch.from_numpy(z.mean(0)), torch.from_numpy(vectors.T.copy()))
    factor = torch.diag(torch.from_numpy(values**-0.5))[None]
    mixture = Mixture(torch.ones(1).double(), torch.zeros(1, 4).double(), factor)
    expected = multivariate_normal(z.mean(0), covariance).logpdf(z)
    np.testing.assert_allclose(mixture.log_prob(subspace.project(torch.from_numpy(z))), expected)


def test_log_prob_of_a_mixture_matches_scipy():
    rng = np.random.default_rng(0)
    y, means, roots = rng.normal(size=(50, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    factors = np.stack([np.linalg.inv(np.linalg.cholesky(c)).T for c in covariances])
    mixture = Mixture(*(torch.from_numpy(a) for a in (np.array([0.3, 0.7]), means, factors)))
    parts = [w * multivariate_normal(m, c).pdf(y) for w, m, c in zip([0.3, 0.7], means, covariances, strict=True)]
    np.testing.assert_allclose(mixture.log_prob(torch.from_numpy(y)), np.log(sum(parts)))


@pytest.mark.parametrize("parts", [1, 4])
def test_the_gaussian_of_a_mixture_is_that_of_its_samples(parts):
    y = correlated(2000, 4, seed=8)
    y[::3] += 20.0
    em = GaussianMixture(parts, reg_covar=1e-9, random_state=0).fit(y.numpy())
    mixture = Mixture(*(torch.from_numpy(a) for a in (em.weights_, em.means_, em.precisions_cholesky_)))
    one = mixture.gaussian()
    expected = multivariate_normal(y.mean(0), y.T.cov(correction=0)).logpdf(y)
    np.testing.assert_allclose(one.log_prob(y), expected, rtol=1e-6)
    torch.testing.assert_close(one.precisions_cholesky, one.precisions_cholesky.triu())


def test_d2_of_one_part_is_mahalanobis_and_never_negative_for_more():
    factor = torch.diag(torch.tensor([1.0, 0.5])).double()
    y = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).double()
    one = Mixture(torch.ones(1).double(), torch.zeros(1, 2).double(), factor[None])
    assert one.d2(y).tolist() == pytest.approx([9 + 4, 0])
    two = Mixture(torch.tensor([0.5, 0.5]).double(), torch.eye(2).double(), torch.stack([factor, factor]))
    assert (two.d2(torch.randn(1000, 2).double()) >= 0).all()


def test_the_residual_is_what_the_components_do_not_see(gaussian):
    z = correlated(20, 6, seed=2)
    whole = (z - gaussian.subspace.mean).square().sum(-1)
    seen = gaussian.subspace.project(z).square().sum(-1)
    torch.testing.assert_close(gaussian.residual(z), whole - seen)


def test_the_gradient_of_d2_and_residual_matches_finite_differences(gaussian):
    z = correlated(3, 6, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(gaussian.d2, (z,))
    assert torch.autograd.gradcheck(gaussian.residual, (z,))


def test_as_few_components_as_keep_95_percent(gaussian):
    variances = torch.linalg.eigvalsh(correlated(2400, 6, seed=0).T.cov()).flip(0)
    shares = variances.cumsum(0) / variances.sum()
    rank = len(gaussian.subspace.components)
    assert gaussian.variance_kept >= 0.95
    assert shares[rank - 2] < 0.955


def test_one_gaussian_is_enough_for_gaussian_data_and_not_for_two_clumps(gaussian):
    assert len(gaussian.mixture.weights) == 1
    z = correlated(3000, 6, seed=4)
    z[::2] += 30.0
    assert len(fitted(z).mixture.weights) > 1


def two_clumps(samples: int, rank: int, seed: int) -> torch.Tensor:
    """Principal components whose first is two clumps; the distribution is the same for every seed."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(samples, rank)) * np.linspace(3, 1, rank)
    y[:, 0] += 8 * rng.choice([-1, 1], samples)
    return torch.from_numpy(y)


def expectation_maximisation(parts: int, y: np.ndarray) -> GaussianMixture:
    return GaussianMixture(parts, reg_covar=1e-4 * float(y.var(0).mean()), random_state=0).fit(y)


@pytest.mark.parametrize("seed", range(4))
def test_shrinking_parts_of_few_samples_helps_on_fresh_ones(seed):
    """40 samples for each of two parts of rank 20: nats per fresh sample of the same law."""
    rank, fresh = 20, two_clumps(20_000, 20, seed=100)
    pca = PCA().fit(two_clumps(80, rank, seed).numpy())
    y, fresh = pca.transform(two_clumps(80, rank, seed).numpy()), torch.from_numpy(pca.transform(fresh.numpy()))
    fit = expectation_maximisation(2, y)
    assert shrunk(fit, y).log_prob(fresh).mean() > plain(fit).log_prob(fresh).mean() + 1


@pytest.mark.parametrize("seed", range(4))
def test_few_samples_of_two_clumps_are_no_longer_taken_for_one(seed):
    pca = PCA().fit(two_clumps(80, 20, seed).numpy())
    y, held_out, fresh = (
        torch.from_numpy(pca.transform(two_clumps(n, 20, s).numpy()))
        for n, s in ((80, seed), (60, seed + 50), (20_000, 100))
    )
    chosen, one = choose_mixture(y, held_out, 0), plain(expectation_maximisation(1, y.numpy()))
    assert len(chosen.weights) > 1
    assert chosen.log_prob(fresh).mean() > one.log_prob(fresh).mean()


@pytest.mark.parametrize("samples", [60, 5000])
def test_shrinking_leaves_one_part_and_the_moments_of_all_as_they_are(samples):
    y = two_clumps(samples, 6, seed=0).numpy()
    y = PCA().fit_transform(y)
    one = plain(expectation_maximisation(1, y))
    for parts in PARTS:
        whole = shrunk(expectation_maximisation(parts, y), y).gaussian()
        torch.testing.assert_close(whole.means, one.means, rtol=0, atol=1e-9)
        torch.testing.assert_close(whole.precisions_cholesky, one.precisions_cholesky, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [1.0, 3.0, 6.0, 8.0])
def test_bits_are_calibrated_on_samples_never_seen(gaussian, bits):
    """Of fresh samples, a share of about 2^−bits lies at or beyond the d² of so many bits."""
    d2 = gaussian.d2(correlated(100_000, 6, seed=5))
    share = float((d2 >= gaussian.d2_at(bits)).double().mean())
    assert -np.log2(share) == pytest.approx(bits, abs=0.15 + 0.1 * bits)


def test_bits_and_percentile_agree(gaussian):
    d2 = gaussian.d2_at(10.0)
    assert gaussian.bits(d2) == pytest.approx(10.0)
    assert gaussian.percentile(d2) == pytest.approx(100 * (1 - 2**-10))


@pytest.mark.parametrize("bits", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_rarity_is_refused(gaussian, bits):
    with pytest.raises(ValueError, match=f"above 0 bits and finite, got {bits}"):
        gaussian.d2_at(bits)


def test_save_and_load_are_exact(density, tmp_path):
    density.save(tmp_path / "density")
    loaded = DensityModel.load(tmp_path / "density")
    z = torch.randn(5, 16)
    assert loaded.fingerprint == density.fingerprint
    assert torch.equal(loaded.d2(z), density.d2(z))
    assert loaded.d2_at(9.5) == density.d2_at(9.5)
    assert {p.suffix for p in (tmp_path / "density").iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["density.json", "density.safetensors"])
def test_a_corrupt_density_is_one_sentence(density, tmp_path, name):
    density.save(tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="cannot load the density model in "):
        DensityModel.load(tmp_path)


def test_the_same_seed_fits_the_same_density(model, density):
    again = fit_density(model, SUBJECT, samples=1000, seed=0, report=lambda *_: None)
    assert again.fingerprint == density.fingerprint


def test_a_report_that_raises_stops_the_fit(model):
    seen = []

    def stop(phase, step, steps, bits):
        seen.append((phase, step, steps, bits))
        if step == 250:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        draw_baseline(model, Subject("handbag", "a {}"), 600, 0, stop)
    assert seen == [("fit", 0, 600, None), ("fit", 250, 600, None)]


def test_too_few_samples_are_refused(model):
    with pytest.raises(ValueError, match="at least 200 samples, got 199"):
        fit_density(model, Subject("handbag", "a {}"), samples=199, seed=0, report=lambda *_: None)


def test_the_key_names_model_text_picture_and_samples():
    plain, other = Subject("handbag", "a {}"), Subject("handbag", "one {}")
    pictures = [Subject("handbag", "a {}", torch.full((4,), value)) for value in (0.0, 1.0)]
    keys = [density_key("f", subject, 5000) for subject in (plain, other, *pictures)]
    assert density_key("f", Subject("handbag", "a {}", torch.zeros(4)), 5000) == keys[2]
    assert len({*keys, density_key("g", plain, 5000), density_key("f", plain, 500)}) == 6


def test_a_density_of_the_usual_strength_is_found_where_it_was_and_of_another_elsewhere():
    usual, weak, strong = (Subject("handbag", "a {}", torch.zeros(4), strength) for strength in (0.5, 0.1, 0.9))
    picture = sha256(torch.zeros(4).numpy().tobytes()).hexdigest()
    before = sha256(json.dumps(["a handbag", picture]).encode()).hexdigest()[:32]
    assert usual.key() == before
    assert len({usual.key(), weak.key(), strong.key()}) == 3
    assert replace(weak, start=None).key() == Subject("handbag", "a {}").key()


def test_a_density_around_a_picture_is_another_and_keeps_the_picture(model, density, tmp_path):
    subject = Subject("handbag", SUBJECT.prompt, torch.ones(16))
    around = fit_density(model, subject, samples=200, seed=0, report=lambda *_: None)
    around.save(tmp_path)
    assert "strength" not in json.loads((tmp_path / META).read_text())  # as before there was any: fingerprints stay
    assert torch.equal(DensityModel.load(tmp_path).start, subject.start)
    assert not torch.allclose(around.subspace.mean, density.subspace.mean, atol=1e-3)


def test_the_stronger_the_wider_and_a_density_keeps_its_strength(model, tmp_path):
    spreads = []
    for strength in (0.0, 0.5, 1.0):
        subject = Subject("handbag", SUBJECT.prompt, torch.ones(16), strength)
        density = fit_density(model, subject, samples=200, seed=0, report=lambda *_: None)
        density.save(tmp_path)
        again = DensityModel.load(tmp_path)
        assert again.is_of(subject)
        assert not again.is_of(replace(subject, strength=0.7))
        assert again.fingerprint == density.fingerprint
        spreads.append(float(density.mixture.moments()[1].trace()))
    assert spreads == sorted(spreads)


@pytest.mark.parametrize("words", ["Handbag", "handbag ", "a handbag", "handbags", "the  HANDBAG"])
def test_a_concept_has_one_density_and_one_prompt_however_it_is_written(words):
    one, other = Subject("handbag", "a {}"), Subject(words, "a {}")
    assert (other.text, density_key("f", other, 500)) == (one.text, density_key("f", one, 500))


def as_with_a_concept(folder, subject):
    """Have density.json name a concept and a prompt, as artefacts may; the fingerprint of such a one."""
    meta = json.loads((folder / META).read_text())
    del meta["text"]
    meta |= {"concept": subject.concept, "prompt": subject.prompt}
    (folder / META).write_text(json.dumps(meta))
    return sha256((folder / WEIGHTS).read_bytes() + json.dumps(meta, sort_keys=True).encode()).hexdigest()


def test_a_density_is_the_same_whichever_of_its_words_the_concept_is(model, density):
    assert ELSEWHERE.text == SUBJECT.text
    assert (
        fit_density(model, ELSEWHERE, samples=1000, seed=0, report=lambda *_: None).fingerprint == density.fingerprint
    )


def test_an_artefact_that_names_a_concept_is_read_as_one_of_its_text(density, tmp_path):
    density.save(tmp_path)
    named = as_with_a_concept(tmp_path, ELSEWHERE)
    again = DensityModel.load(tmp_path)
    assert (again.text, again.fingerprint) == (density.text, density.fingerprint)
    assert again.is_named(named, ELSEWHERE)
    assert not again.is_named(named, SUBJECT)


def test_a_fingerprint_is_found_out_once_for_each_density(model, monkeypatch):
    own, digests = fitted(correlated(500, 6, seed=0)), []
    monkeypatch.setattr("services.diffusion.density.model.save", lambda tensors: digests.append(tensors) or b"")
    for same in (own, own.to(model.device), own):
        assert same.fingerprint == own.fingerprint
    assert len(digests) == 1
