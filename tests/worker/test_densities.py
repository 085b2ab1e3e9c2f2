"""Laws of the densities' three places: memory, the store, a fit."""

import dataclasses
import shutil
import threading
from functools import partial

import pytest
import torch

from services.density_models import Baseline, baseline_key
from services.diffusion.density.subject import Subject
from services.jobs.store import connect
from services.sampler.densities import Densities
from services.texts.concepts import DEFAULT_PROMPT
from worker.fit_lock import fit_lock

CHAIR, LAMP = Subject("chair", DEFAULT_PROMPT), Subject("lamp", DEFAULT_PROMPT)


class Reports(list):
    """Every report, as a tuple."""

    def __call__(self, *report):
        self.append(report)

    def fitted(self):
        return any(step > 0 for _, step, _, _ in self)


@pytest.fixture
def make_densities(models, storage):
    return lambda: Densities(models.model, storage, samples=500, capacity=1)


@pytest.fixture
def lock(redis_url):
    with connect(redis_url) as client:
        yield partial(fit_lock, client, 30)


def test_one_worker_fits_and_the_others_wait_for_it(make_densities, lock):
    reports = [Reports() for _ in range(3)]
    found = {}

    def work(index):
        found[index] = make_densities().get(CHAIR, reports[index], lock).density.fingerprint

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.fitted() for report in reports].count(True) == 1
    assert len(set(found.values())) == 1


def test_density_is_found_in_memory_then_in_the_store(make_densities, lock):
    densities = make_densities()
    first = densities.get(CHAIR, Reports(), lock)
    assert densities.get(CHAIR, Reports(), lock) is first
    densities.get(LAMP, Reports(), lock)
    reports = Reports()
    again = densities.get(CHAIR, reports, lock)
    assert again is not first
    assert again.density.fingerprint == first.density.fingerprint
    assert reports == []
    assert densities.lookups == {"fit": 2, "memory": 1, "store": 1}


def test_wait_for_a_fit_ends_when_the_report_raises(redis_url):
    def stop(*_report):
        raise TimeoutError("enough")

    with connect(redis_url) as client, fit_lock(client, 30, "key", Reports()):  # noqa: SIM117  the outer one is held
        with pytest.raises(TimeoutError), fit_lock(client, 30, "key", stop):
            pass


def test_holder_that_stops_reporting_loses_the_lock(redis_url):
    with connect(redis_url) as client, fit_lock(client, 0.2, "key", Reports()), fit_lock(client, 0.2, "key", Reports()):
        pass


def test_a_picture_gets_by_with_fewer_samples(models, storage, lock, monkeypatch):
    monkeypatch.setattr("services.sampler.densities.PICTURE_SAMPLES", 300)
    densities = Densities(models.model, storage, samples=500, capacity=2)
    picture = Subject("chair", DEFAULT_PROMPT, torch.zeros(models.model.prior.config.embedding_dim))
    assert [densities.get(subject, Reports(), lock).density.samples for subject in (CHAIR, picture)] == [500, 300]


def read_baseline(storage, artefact):
    return Baseline.model_validate_json(storage.get(baseline_key(artefact.key)))


def test_baseline_is_of_held_out_samples_with_the_bits_that_the_density_gives_them(make_densities, lock, storage):
    artefact = make_densities().get(CHAIR, Reports(), lock)
    density, points = artefact.density, read_baseline(storage, artefact).points
    embeds = density.subspace.mean + density.held_out @ density.subspace.components
    assert len(points) == len(density.held_out) == 200
    bits = [density.bits(d2) for d2 in density.d2(embeds).tolist()]
    assert [point.bits for point in points] == pytest.approx(bits, abs=0.01)
    places = torch.tensor([[point.x, point.y] for point in points])
    torch.testing.assert_close(places.std(0), torch.ones(2), atol=0.01, rtol=0)


def test_density_of_before_there_were_baselines_gets_one_when_it_is_used(make_densities, lock, storage):
    first = make_densities().get(CHAIR, Reports(), lock)
    points = read_baseline(storage, first).points
    storage.path(baseline_key(first.key)).unlink()
    again, later = [make_densities().get(CHAIR, Reports(), lock) for _ in range(2)]
    assert first.fitted_at is not None
    assert (again.fitted_at, later.fitted_at) == (None, None)
    assert read_baseline(storage, again).points == points


@pytest.mark.parametrize("lost", ["densities/", "{}/baseline.json"])
def test_what_the_store_has_lost_is_stored_again_from_memory(make_densities, lock, storage, lost):
    densities = make_densities()
    first = densities.get(CHAIR, Reports(), lock)
    path = storage.path(lost.format(first.key))
    path.unlink() if path.is_file() else shutil.rmtree(path)
    densities.keep(densities.get(CHAIR, Reports(), lock))
    again = make_densities().get(CHAIR, reports := Reports(), lock)
    assert (again.density.fingerprint, again.fitted_at, reports) == (first.density.fingerprint, first.fitted_at, [])


def test_densities_of_another_model_are_said_to_be_so_once(models, storage, lock, caplog):
    def fit(subject, **notifications):
        model = dataclasses.replace(models.model, **notifications)
        Densities(model, storage, samples=500, capacity=1).get(subject, Reports(), lock)
        return [record.message for record in caplog.records if "another model" in record.message]

    caplog.set_level("WARNING")
    assert fit(CHAIR) == []
    (told,) = fit(CHAIR, fingerprint="f" * 64)
    assert "ffffffffffff" in told
    assert fit(LAMP, fingerprint="f" * 64) == fit(LAMP) == [told]
