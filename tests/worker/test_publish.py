"""A store that fails in the middle of an upload costs the job, and leaves nothing of it behind."""

import asyncio
from urllib.parse import urlsplit

from conftest import BUCKET, S3_KEYS

from proxy import proxied
from services.jobs.record import JobStatus
from services.objects.keys import output_key
from services.objects.storage import S3Storage
from tests.accepted import accepted
from worker.sweeper import Sweeper

REQUEST = accepted(concept="handbag", count=2, steps=2, trials=2, decoder_steps=2, seed=7)


def s3(port, **options):
    keys = {"access_key": S3_KEYS[0], "secret_key": S3_KEYS[1], "bucket": BUCKET, "region": "us-east-1"}
    return S3Storage(f"http://127.0.0.1:{port}", **keys, **options)


async def test_upload_that_breaks_off_fails_the_job_without_a_second_run_and_its_pictures_are_erased(
    jobs, leases, make_runner, s3_url
):
    direct = s3(port := urlsplit(s3_url).port)
    job_id = (await jobs.submit(REQUEST, keep_s=60, max_queued=9)).id
    with proxied(port) as proxy:
        proxy.delay_s = 0.01
        run = asyncio.create_task(asyncio.to_thread(make_runner(storage=s3(proxy.port, patience_s=2)).run_next))
        while not run.done() and not await asyncio.to_thread(direct.exists, output_key(job_id, 1, 0, "png")):
            await asyncio.sleep(0.01)
        proxy.cut_after = 0
        await run
    record, _ = await jobs.get(job_id)
    assert (record.status, record.error.code, record.attempt, record.outputs) == (JobStatus.FAILED, "storage", 1, [])
    assert record.error.detail == "what belongs to the job or the picture cannot be stored or read now"
    assert direct.exists(output_key(job_id, 1, 0, "png"))
    Sweeper(leases, direct, interval_s=10).sweep()
    assert not direct.exists(output_key(job_id, 1, 0, "png"))
    assert leases.take_erasures() == []
