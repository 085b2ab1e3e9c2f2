"""What the gateway answers with. Fields that a newer gateway adds are kept, as attributes without a type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

JobStatus = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled"]
Feedback = Literal["liked", "disliked", "neutral"]


class Document(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class TrialProgress(Document):
    """A row of the optimisation; x and y are its place on the density's two leading principal components.

    `climbed` is how many rungs of the ladder it has passed, None without one.
    """

    bits: float
    validity: float | None = None
    x: float
    y: float
    state: str
    climbed: int | None = None


class Progress(Document):
    """Step of steps in a phase, and the batch's median rarity so far.

    `silent_s` is set when the worker has given no sign for so many seconds: another one will take over.
    """

    phase: str
    step: int
    steps: int
    rarity_bits: float | None = None
    silent_s: float | None = None


class WatchedProgress(Progress):
    """As events have it: in the phase `optimize` with all trials, in a fixed order."""

    trials: list[TrialProgress] = []


class PreviewPicture(Document):
    """A thumbnail of a trial, as a `data:` URL."""

    trial: int
    bits: float
    validity: float | None = None
    url: str
    climbed: int | None = None


class Preview(Document):
    """What a check has just looked at."""

    step: int
    pictures: list[PreviewPicture]


class Rung(Document):
    """Where on a ladder an image stands: on which trial's way up, at which rung, from 0 on, and the bits of that."""

    column: int
    index: int
    bits: float


class Rarity(Document):
    """An image's own figures: bits = −log₂ of the share of plain samples that are as rare."""

    percentile: float
    bits: float
    d2: float
    residual: float
    rung: Rung | None = None


class Likeness(Document):
    """How like the found thing a picture of it is, 1 for the same: by its embedding, 0 for what the concept is on
    average, and by the judge's features of the picture, None where it has none."""

    embedding: float
    picture: float | None = None


class PublishedPicture(Document):
    """One image and where to fetch it, until `url_expires_at`."""

    index: int
    url: str
    url_expires_at: datetime
    media_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    seed: int
    rarity: Rarity
    anchor: float
    validity: float | None
    novelty_bits: float | None = None
    likeness: Likeness | None = None


class Output(PublishedPicture):
    """An image of a job that was read by itself: `replay` makes it again bit for bit; `download_url` saves it."""

    download_url: str
    replay: dict[str, Any]


class JobError(Document):
    """Why a job failed; `code` is a stable word."""

    code: str
    title: str
    detail: str


class StatusChange(Document):
    """The error and the warnings come with the last one."""

    status: JobStatus
    error: JobError | None = None
    warnings: list[str] = []

    @property
    def ended(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled"}


class Eta(Document):
    """Seconds until the job starts."""

    p50: float
    p90: float


class QueuePlace(Document):
    """Where a queued job stands, the next one at 1."""

    position: int
    eta_seconds: Eta | None = None


class Metrics(Document):
    """Where the time went, in milliseconds, and how many attempts it took."""

    queue_ms: int
    fit_ms: int
    optimize_ms: int
    check_ms: int
    decode_ms: int
    upload_ms: int
    attempts: int


class JobSummary(StatusChange):
    """A job as lists and batches tell it; `request` is what was accepted, with all defaults filled in."""

    id: str
    concept: str
    request: dict[str, Any]
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime
    queue: QueuePlace | None = None
    progress: Progress | None = None
    outputs: Sequence[PublishedPicture]
    metrics: Metrics
    metadata: dict[str, str]
    urls: dict[str, str]


class Job(JobSummary):
    """A job that was read by itself."""

    outputs: Sequence[Output]


class JobPage(Document):
    """`next_cursor` is None on the last page; `unreadable` are jobs whose records the gateway cannot read."""

    jobs: list[JobSummary]
    next_cursor: str | None = None
    unreadable: list[str] = []


class BatchItem(Document):
    """One job of a batch, or the problem (RFC 9457) that stands for it; `status` is that of a job on its own."""

    status: int
    job: JobSummary | None = None
    problem: dict[str, Any] | None = None


class SweptField(Document):
    """An axis of a sweep."""

    field: str
    values: list[Any]


class Batch(Document):
    """Jobs that were submitted together, in the order of the request; finished when the last of them has ended."""

    id: str
    created_at: datetime
    finished_at: datetime | None = None
    items: list[BatchItem]
    sweep: list[SweptField] = []
    urls: dict[str, str]


class Attempt(Document):
    """One call of a webhook: the status that it answered with, or why there was none."""

    at: datetime
    status_code: int | None = None
    error: str | None = None
    duration_ms: int


class Delivery(Document):
    """An event on its way to a job's webhook; `id` is the `webhook-id` of all its attempts."""

    id: str
    event: str
    status: str
    created_at: datetime
    next_attempt_at: datetime | None = None
    attempts: list[Attempt]


class Deliveries(Document):
    deliveries: list[Delivery]


class Upload(Document):
    """A picture that jobs can start from, until `expires_at`."""

    id: str
    width: int
    height: int
    bytes: int
    sha256: str
    expires_at: datetime


class FoundThing(Document):
    """What an output's trial has learnt, kept until it is erased; `download_url` gives it as a file."""

    id: str
    name: str
    concept: str
    prompt: str
    model: str
    bits: float
    validity: float | None
    width: int
    height: int
    created_at: datetime
    url: str
    url_expires_at: datetime
    download_url: str


class FoundThings(Document):
    """All that are kept."""

    found: list[FoundThing]


class Exposure(Document):
    """A user's history in numbers."""

    key: str
    size: int
    feedback: dict[str, int]
    concepts: dict[str, int]


class DensityModel(Document):
    """What is known of how a concept usually looks; `job` is the one that fits it."""

    concept: str
    prompt: str
    model: str = "rarebit"
    status: str
    samples: int | None = None
    components: int | None = None
    variance_kept: float | None = None
    fitted_at: datetime | None = None
    job: str | None = None


class DensityModels(Document):
    density_models: list[DensityModel]


EventData = StatusChange | WatchedProgress | Preview | Output
EVENTS: dict[str, Callable[[str], EventData]] = {
    "status": StatusChange.model_validate_json,
    "progress": WatchedProgress.model_validate_json,
    "preview": Preview.model_validate_json,
    "output": Output.model_validate_json,
}


@dataclass(frozen=True)
class Event:
    """What happened to a job; a stream goes on after `id`."""

    id: str
    data: EventData
