"""The documents that clients read, made from the store's records."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel

from api.density_models import Fit
from api.documents.links import Links
from api.pictures import KeptFound, Upload
from api.problems.errors import Problem, problem_of
from services.density_models import DensityFacts, Point
from services.errors import JobExpiredError, QueueFullError, UnreadableError
from services.exposure import Feedback, View
from services.jobs import batches
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import Page
from services.jobs.record import (
    JobError,
    JobKind,
    JobRecord,
    JobStatus,
    Metrics,
    PictureFacts,
    Progress,
    QueuePlace,
    StoredOutput,
)
from services.objects.keys import found_key, found_picture_key, upload_key

Shown = TypeVar("Shown", bound="PublishedPicture")
_NAME_CHARACTERS = 60  # of a file's name


class PublishedPicture(PictureFacts):
    """One image and where to fetch it; whoever is told of it gets a URL that lasts."""

    index: int
    url: str
    url_expires_at: datetime


class Output(PublishedPicture):
    """One image, where to fetch it, also as a file to be saved, and what reproduces it."""

    download_url: str
    replay: dict[str, Any]


class Urls(BaseModel):
    """Where to go from here: paths on the gateway's host."""

    self: str
    cancel: str
    events: str


class StatusChange(BaseModel):
    """What the event `status` says; the error and the warnings come with the last one."""

    status: JobStatus
    error: JobError | None = None
    warnings: list[str] = []

    @classmethod
    def of(cls, record: JobRecord, status: JobStatus) -> Self:
        return cls(status=status, error=record.error, warnings=record.warnings) if status.final else cls(status=status)


class JobSummary(BaseModel):
    """A job as lists tell it: all but what reproduces its outputs."""

    id: str
    kind: JobKind
    status: JobStatus
    concept: str
    request: AcceptedRequest
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    queue: QueuePlace | None
    progress: Progress | None
    outputs: Sequence[PublishedPicture]
    warnings: list[str]
    error: JobError | None
    metrics: Metrics
    metadata: dict[str, str]
    urls: Urls

    @classmethod
    def of(cls, record: JobRecord, place: QueuePlace | None, links: Links) -> Self:
        """The record's document."""
        path = links.to(f"/jobs/{record.id}")
        return cls(
            id=record.id,
            kind=record.kind,
            status=record.status,
            concept=record.request.concept,
            request=record.request,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            expires_at=record.expires_at,
            queue=place,
            progress=record.progress,
            outputs=cls._pictures(record, links),
            warnings=record.warnings,
            error=record.error,
            metrics=record.metrics,
            metadata=record.request.metadata,
            urls=Urls(self=path, cancel=f"{path}/cancel", events=f"{path}/events"),
        )

    @classmethod
    def _pictures(cls, record: JobRecord, links: Links) -> Sequence[PublishedPicture]:
        return pictures_of(PublishedPicture, record, links)


class Job(JobSummary):
    """A job as its owner sees it. Outputs are kept until `expires_at`; then the job answers 410."""

    outputs: Sequence[Output]

    @classmethod
    def _pictures(cls, record: JobRecord, links: Links) -> Sequence[Output]:
        return pictures_of(Output, record, links)


class JobBaseline(BaseModel):
    """The rarity that the job aims at, and plain samples of what its rarity is measured against."""

    target_bits: float
    points: list[Point]


class DensityModel(BaseModel):
    """What a concept usually looks like in a prompt: fitted, or being fitted by `job`.

    `components` keep `variance_kept` of the variance of `samples` embeddings. `fitted_at` is null for one that is older
    than the first version that noted it.
    """

    concept: str
    prompt: str
    model: str
    status: Literal["fitting", "ready"]
    samples: int | None = None
    components: int | None = None
    variance_kept: float | None = None
    fitted_at: datetime | None = None
    job: str | None = None

    @classmethod
    def ready(cls, facts: DensityFacts) -> Self:
        return cls(status="ready", **facts.model_dump(exclude={"key", "family"}))

    @classmethod
    def fitting(cls, fit: Fit, links: Links) -> Self:
        job = links.to(f"/jobs/{fit.job_id}")
        return cls(status="fitting", concept=fit.concept, prompt=fit.prompt, model=fit.model, job=job)


class DensityModelList(BaseModel):
    """The caller's density models and those of everybody."""

    density_models: list[DensityModel]


class JobList(BaseModel):
    """Some jobs, newest first; `next_cursor` is null on the last page.

    `unreadable` has the ids of those between them whose records this version of the service cannot read.
    """

    jobs: list[JobSummary]
    next_cursor: str | None
    unreadable: list[str] = []

    @classmethod
    def of(cls, page: Page, links: Links) -> Self:
        jobs = [JobSummary.of(record, place, links) for record, place in page.found]
        cursor = None if page.following is None else str(page.following)
        return cls(jobs=jobs, next_cursor=cursor, unreadable=page.unreadable)


class BatchItem(BaseModel):
    """One job of a batch, or the problem that stands for it: `status` is that of `POST /jobs`, 410 of an erased job."""

    status: int
    job: JobSummary | None = None
    problem: Problem | None = None


class BatchUrls(BaseModel):
    """Where to go from here: paths on the gateway's host."""

    self: str
    cancel: str


class SweptField(BaseModel):
    """An axis of a sweep."""

    field: str
    values: list[Any]


class Batch(BaseModel):
    """Jobs that were submitted together, in the order of the request; finished when the last of them has ended.

    Those of a `sweep` are a grid: the last axis runs fastest.
    """

    id: str
    created_at: datetime
    finished_at: datetime | None
    items: list[BatchItem]
    sweep: list[SweptField] = []
    urls: BatchUrls

    @classmethod
    def of(cls, batch: batches.Batch, links: Links) -> Self:
        def item(one: batches.Item) -> BatchItem:
            if not isinstance(one, str):
                problem = Problem.model_validate(one)
            elif one in batch.jobs:
                return BatchItem(status=202, job=JobSummary.of(*batch.jobs[one], links))
            elif one in batch.refused:
                problem = problem_of(QueueFullError("as many jobs are waiting as are taken; try again later"))
            elif one in batch.unreadable:
                problem = problem_of(UnreadableError("job", one))
            else:
                problem = problem_of(JobExpiredError(f"job {one} has expired or was erased"))
            return BatchItem(status=problem.status, problem=problem)

        path = links.to(f"/batches/{batch.id}")
        return cls(
            id=batch.id,
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            items=[item(one) for one in batch.items],
            sweep=[SweptField.model_validate(axis) for axis in batch.sweep],
            urls=BatchUrls(self=path, cancel=f"{path}/cancel"),
        )


class Picture(Upload):
    """An uploaded picture and where to fetch it; every answer has a URL that lasts."""

    url: str
    url_expires_at: datetime

    @classmethod
    def of(cls, upload: Upload, links: Links) -> Self:
        url_expires_at = links.expiry(upload.expires_at)
        url = links.picture(upload_key(upload.id), url_expires_at)
        return cls(**upload.model_dump(), url=url, url_expires_at=url_expires_at)


class FoundThing(KeptFound):
    """A found thing, its picture, and where to save it: as a picture that carries what led to it."""

    url: str
    url_expires_at: datetime
    download_url: str

    @classmethod
    def of(cls, found: KeptFound, links: Links) -> Self:
        url_expires_at = links.expiry(None)
        return cls(
            **found.model_dump(),
            url=links.picture(found_picture_key(found.id), url_expires_at),
            url_expires_at=url_expires_at,
            download_url=links.picture(found_key(found.id), url_expires_at, f"{_words(found.name) or found.id}.png"),
        )


class FoundList(BaseModel):
    """All found things that the caller keeps, the newest first."""

    found: list[FoundThing]


class Exposure(BaseModel):
    """A history in numbers: how many images were seen, what was thought of them, and of which concepts they were."""

    key: str
    size: int
    feedback: dict[Feedback, int]
    concepts: dict[str, int]

    @classmethod
    def of(cls, key: str, views: Sequence[View]) -> Self:
        feedback = Counter(view.feedback for view in views)
        return cls(
            key=key,
            size=len(views),
            feedback={kind: feedback[kind] for kind in Feedback},
            concepts=Counter(view.concept for view in views),
        )


def pictures_of(kind: type[Shown], record: JobRecord, links: Links) -> list[Shown]:
    """The job's images, with URLs that last."""
    url_expires_at = links.expiry(record.expires_at)
    own = kind.model_fields.keys() & StoredOutput.model_fields.keys()

    def shown(index: int, stored: StoredOutput) -> Shown:
        fields = {name: value for name, value in stored if name in own}
        if "download_url" in kind.model_fields:
            name = _file_name(record.request.concept, record.id, index, stored.key)
            fields["download_url"] = links.picture(stored.key, url_expires_at, name)
        url = links.picture(stored.key, url_expires_at)
        return kind.model_construct(**fields, index=index, url=url, url_expires_at=url_expires_at)

    return [shown(index, stored) for index, stored in enumerate(record.outputs)]


def _file_name(concept: str, job_id: str, index: int, key: str) -> str:
    """Of a saved picture: `red-chair-0b5f3e3c-1.png`."""
    return f"{_words(concept)}-{job_id[:8]}-{index + 1}.{key.rpartition('.')[2]}"


def _words(text: str) -> str:
    """Of the text, as a file's name has them."""
    return re.sub(r"\W+", "-", text)[:_NAME_CHARACTERS].strip("-")
