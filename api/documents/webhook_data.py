"""What webhooks are told of jobs and batches: the documents, without what is long."""

from collections import Counter
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from api.documents.resources import Batch, BatchItem, BatchUrls, JobSummary, PublishedPicture, Urls
from services.jobs.record import JobError, JobStatus, Metrics


class JobNotification(BaseModel):
    """A job as its webhook is told of it: as it is when it is told, without what is long."""

    id: str
    status: JobStatus
    concept: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    outputs: list[PublishedPicture]
    warnings: list[str]
    error: JobError | None
    metrics: Metrics
    metadata: dict[str, str]
    urls: Urls

    @classmethod
    def of(cls, job: JobSummary) -> Self:
        return cls.model_validate(job.model_dump())


class ExpiredJobNotification(BaseModel):
    """What is left to tell of a job that has expired: how it ended, or that it was `running`."""

    id: str
    status: JobStatus


class BatchNotification(BaseModel):
    """A finished batch as its webhook is told of it: how many of its items have which status of a job.

    `refused` are those that never became one, `gone` those that were erased.
    """

    id: str
    created_at: datetime
    finished_at: datetime | None
    items: dict[str, int]
    urls: BatchUrls

    @classmethod
    def of(cls, batch: Batch) -> Self:
        def word(item: BatchItem) -> str:
            if item.job:
                return str(item.job.status)
            return "gone" if item.status == 410 else "refused"

        counts = Counter(map(word, batch.items))
        return cls(items=counts, **{name: getattr(batch, name) for name in ("id", "created_at", "finished_at", "urls")})


class ExpiredBatchNotification(BaseModel):
    """What is left to tell of a batch that has expired."""

    id: str
