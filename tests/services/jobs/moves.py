"""What clients and workers do with jobs, each in a line."""

from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import JobError, JobStatus, ReachedRarity, StoredOutput
from services.jobs.store import connect
from services.objects.keys import job_prefix
from tests.accepted import accepted

EXPIRY = "{rarebit}:expiry"
REQUEST = accepted(concept="handbag")
ERROR = JobError(code="internal", title="The service failed", detail="on purpose")


async def submit(jobs: Jobs, **options: object) -> str:
    return (await jobs.submit(REQUEST, **({"keep_s": 60, "max_queued": 100} | options))).id


async def status_of(jobs: Jobs, job_id: str) -> JobStatus:
    return (await jobs.get(job_id))[0].status


async def cancel(jobs: Jobs, job_id: str) -> JobStatus:
    return (await jobs.cancel(job_id))[0].status


def output(key: str = "jobs/0/1/0.png") -> StoredOutput:
    rarity = ReachedRarity(percentile=99.9, bits=10.0, d2=80.0, residual=0.5)
    facts = {"media_type": "image/png", "width": 64, "height": 64, "bytes": 3, "sha256": "0" * 64, "seed": 7}
    return StoredOutput(key=key, rarity=rarity, anchor=0.3, validity=0.9, replay={}, **facts)


def swept(leases: Leases) -> list[str]:
    """Report all that is due as erased, and answer with it."""
    erasures = leases.take_erasures()
    for erasure in erasures:
        leases.end_erasure(erasure)
    return [erasure.prefix for erasure in erasures]


def expire(redis_url: str, leases: Leases, job_id: str) -> None:
    """End the time for which the job is kept, and sweep it."""
    with connect(redis_url) as client:
        client.zadd(EXPIRY, {job_prefix(job_id): 0})
    assert job_prefix(job_id) in swept(leases)
