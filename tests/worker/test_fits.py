"""Laws of jobs that fit a density model, and of the densities that jobs name."""

import asyncio

import pytest

from api.density_models import DensityModels, read_points
from services.density_models import baseline_key, is_stored
from services.errors import NoDensityError
from services.jobs.leases import Leases
from services.jobs.quarantine import Quarantine
from services.jobs.record import JobStatus
from services.jobs.request import PictureRef
from services.jobs.store import connect, connect_async
from services.texts.concepts import DEFAULT_PROMPT
from tests.accepted import accepted

HANDBAG = accepted(concept="handbag", seed=0)
QUICK = accepted(concept="handbag", steps=2, trials=1, decoder_steps=2, seed=7)


@pytest.fixture
async def density_models(redis_url, leases, models):
    leases.serve(models.densities.family, [])
    async with connect_async(redis_url) as client:
        yield DensityModels(client)


@pytest.fixture
def fit(density_models):
    async def fit(request=HANDBAG):
        return await density_models.fit(request, keep_s=60, max_queued=10)

    return fit


async def test_a_fit_makes_a_density_and_no_picture(jobs, fit, make_runner, density_models):
    job_id = await fit()
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.kind, record.status, record.outputs) == ("density_model", JobStatus.SUCCEEDED, [])
    ([facts], fits) = await density_models.list()
    assert (facts.concept, facts.prompt, facts.samples, facts.key) == ("handbag", DEFAULT_PROMPT, 500, record.density)
    assert fits == []


async def test_two_who_ask_at_once_get_one_job(fit):
    assert len({*await asyncio.gather(*(fit() for _ in range(20)))}) == 1
    assert await fit(accepted(concept="chair", seed=0)) != await fit()


async def test_a_fit_that_has_ended_does_not_stand_in_the_way(jobs, fit, density_models):
    first = await fit()
    await jobs.cancel(first)
    assert (await density_models.list())[1] == []
    assert await fit() != first


async def test_a_dead_workers_fit_is_fitted_by_another(jobs, fit, make_runner, redis_url, density_models):
    job_id = await fit()
    with connect(redis_url) as client:
        assert Leases(client, worker="dying", lease_s=0).claim().kind == "density_model"
        Leases(client, worker="living", lease_s=30).recover()
    assert await fit() == job_id
    await asyncio.to_thread(make_runner().run_next)
    record, _ = await jobs.get(job_id)
    assert (record.status, record.attempt) == (JobStatus.SUCCEEDED, 2)
    assert [facts.concept for facts in (await density_models.list())[0]] == ["handbag"]


async def test_a_replayed_fit_is_a_fit(jobs, fit, lose_next, redis_url):
    job_id = await fit()
    lose_next()
    async with connect_async(redis_url) as client:
        again, _ = await Quarantine(client).replay(job_id, max_queued=10)
    assert (again.id != job_id, again.kind) == (True, "density_model")


async def test_models_of_a_job_are_told_of_and_those_of_other_families_are_not(
    jobs, make_runner, density_models, leases
):
    await jobs.submit(QUICK, keep_s=60, max_queued=10)
    await asyncio.to_thread(make_runner().run_next)
    (ready, _) = await density_models.list()
    assert [facts.concept for facts in ready] == ["handbag"]
    preloaded = ready[0].model_copy(update={"concept": "preloaded", "family": "another-model"})
    leases.serve("another-model", [preloaded])
    assert [facts.concept for facts in (await density_models.list())[0]] == ["preloaded"]


async def test_the_same_text_in_other_words_is_told_of_in_these(fit, make_runner, density_models):
    await fit()
    same = DEFAULT_PROMPT.format("handbag").replace("photo", "{}", 1)
    await fit(accepted(concept="photo", prompt=same, seed=0))
    for _ in range(2):
        await asyncio.to_thread(make_runner().run_next)
    one, other = (await density_models.list())[0]
    assert {one.concept, other.concept} == {"handbag", "photo"}
    assert one.key == other.key


async def test_a_picture_has_its_own_baseline_and_is_not_listed(jobs, make_runner, density_models, density_storage):
    ids = [(await jobs.submit(QUICK, keep_s=60, max_queued=10)).id]
    await asyncio.to_thread(make_runner(storage=density_storage).run_next)
    varied = QUICK.model_copy(update={"image": PictureRef(output=f"{ids[0]}/0")})
    ids.append((await jobs.submit(varied, keep_s=60, max_queued=10)).id)
    with pytest.raises(NoDensityError, match=ids[1]):
        read_points(density_storage, (await jobs.get(ids[1]))[0])
    await asyncio.to_thread(make_runner(storage=density_storage).run_next)
    plain, of_picture = [(await jobs.get(job_id))[0] for job_id in ids]
    assert plain.density != of_picture.density
    assert read_points(density_storage, plain) != read_points(density_storage, of_picture)
    assert [facts.key for facts in (await density_models.list())[0]] == [plain.density]


async def test_what_the_store_has_lost_is_known_to_be_lost(jobs, fit, make_runner, density_models, density_storage):
    await fit()
    await asyncio.to_thread(make_runner().run_next)
    (ready, _) = await density_models.list()
    assert all(is_stored(density_storage, one) for one in ready)
    density_storage.path(baseline_key(ready[0].key)).unlink()
    assert not any(is_stored(density_storage, one) for one in ready)


async def test_a_tenant_sees_its_own_models_and_the_preloaded_ones(fit, make_runner, density_models, leases, models):
    own, other = density_models.of("own"), density_models.of("other")
    await own.fit(HANDBAG, keep_s=60, max_queued=10)
    assert [len((await one.list())[1]) for one in (own, other)] == [1, 0]
    await asyncio.to_thread(make_runner().run_next)
    [facts], _ = await own.list()
    assert (facts.concept, (await other.list())[0]) == ("handbag", [])
    leases.serve(models.densities.family, [facts])
    assert [(await one.list())[0] for one in (own, other)] == [[facts], [facts]]
