"""Laws of the densities' three places: memory, the store, a fit."""

import threading
from functools import partial

import pytest
import torch

from services.diffusion.subject import Subject
from services.schemas import DEFAULT_PROMPT
from services.store import connect
from worker.densities import Densities
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
        found[index] = make_densities().get(CHAIR, reports[index], lock).fingerprint

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
    assert again.fingerprint == first.fingerprint
    assert reports == []


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
    monkeypatch.setattr("worker.densities.PICTURE_SAMPLES", 300)
    densities = Densities(models.model, storage, samples=500, capacity=2)
    picture = Subject("chair", DEFAULT_PROMPT, torch.zeros(models.model.prior.config.embedding_dim))
    assert [densities.get(subject, Reports(), lock).samples for subject in (CHAIR, picture)] == [500, 300]
