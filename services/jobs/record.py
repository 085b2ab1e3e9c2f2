"""What crosses processes and the wire: the job's record, the states between which it moves, and what is told of it."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, Field

from services.base_models import StoredModel
from services.jobs.accepted import AcceptedRequest


class JobStatus(StrEnum):
    """Where a job stands; `canceling` lies between a cancel and its effect."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobStatus, tuple[JobStatus, ...]] = {
    JobStatus.QUEUED: (JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELED),
    JobStatus.RUNNING: (JobStatus.QUEUED, JobStatus.CANCELING, JobStatus.SUCCEEDED, JobStatus.FAILED),
    JobStatus.CANCELING: (JobStatus.CANCELED,),
    JobStatus.SUCCEEDED: (),
    JobStatus.FAILED: (),
    JobStatus.CANCELED: (),
}

JobKind = Literal["images", "density_model"]  # what it makes: pictures, or no more than the density of its concept
Phase = Literal["load", "fit", "optimize", "check", "decode", "upload"]


class Progress(StoredModel):
    """What the attempt is doing: step of steps in its phase, and the batch's median rarity so far.

    `silent_s` is for how long the worker has given no sign, once that is so long that it has probably died: another one
    takes over when its lease ends.
    """

    phase: Phase
    step: int
    steps: int
    rarity_bits: float | None = None
    silent_s: float | None = None


class TrialProgress(StoredModel):
    """Where a trial is: `x` and `y` are its coordinates on the density's two leading principal components, in standard
    deviations of plain samples there; `validity` is its latest check's, null before one
    and where the judge does not know the concept; `climbed` is how many rungs of the ladder it has passed, null without
    one."""

    bits: float
    validity: float | None
    x: float
    y: float
    state: Literal["moving", "arrived", "ended"]
    climbed: int | None = None


class WatchedProgress(Progress):
    """What the event `progress` says: trials in the phase `optimize` only, each always in the same place."""

    trials: list[TrialProgress] = Field(default_factory=list)


class PreviewPicture(StoredModel):
    """A picture of a trial, as small JPEG in a data URL; `climbed` as in `TrialProgress`."""

    trial: int
    bits: float
    validity: float | None
    url: str
    climbed: int | None = None


class Preview(StoredModel):
    """What the event `preview` says: some of what the run's checks have decoded since the last one."""

    step: int
    pictures: list[PreviewPicture]


class ReachedRung(StoredModel):
    """Where on a ladder an image stands: on which trial's way up, at which rung, from 0 on, and the bits of that."""

    column: int
    index: int
    bits: float


class ReachedRarity(StoredModel):
    """An image's own figures; `residual` is a quantile of the baseline's, `rung` is null without a ladder."""

    percentile: float
    bits: float
    d2: float
    residual: float
    rung: ReachedRung | None = None


class FoundLikeness(StoredModel):
    """How like the found thing a picture of it is, 1 for the same: by its embedding, 0 for what the concept is on
    average, and by the judge's features of the picture, null where it has none."""

    embedding: float
    picture: float | None = None


class PictureFacts(StoredModel):
    """One image: what it is; `validity` is null where the judge does not know the concept, as a warning says.
    `likeness` is of pictures of a found thing."""

    media_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    seed: int
    rarity: ReachedRarity
    anchor: float
    validity: float | None
    novelty_bits: float | None = None
    likeness: FoundLikeness | None = None


class StoredOutput(PictureFacts):
    """An output of a job: `key` names the object, `replay` is what reproduces it.

    The record keeps what the run's outputs have in common in it once (`answers.write_outputs`).
    """

    replay: dict[str, Any] = Field(default_factory=dict)
    key: str

    @property
    def model(self) -> str | None:
        """The fingerprint of the model that made it, if that is known."""
        return self.replay.get("model")


class JobError(StoredModel):
    """Why a job failed; `code` is a stable word."""

    code: str
    title: str
    detail: str


class Metrics(StoredModel):
    """Where the time went, in milliseconds, and how many attempts it took."""

    queue_ms: int = 0
    fit_ms: int = 0
    optimize_ms: int = 0
    check_ms: int = 0
    decode_ms: int = 0
    upload_ms: int = 0
    attempts: int = 0


class JobRecord(StoredModel):
    """A job as the store keeps it; `density` is the key of the one that it has got."""

    id: str
    kind: JobKind = "images"
    status: JobStatus
    attempt: int
    request: AcceptedRequest
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime
    density: str | None = None
    progress: Progress | None = None
    outputs: list[StoredOutput] = Field(default_factory=list)  # a default that can change is copied deeply, slowly
    warnings: list[str] = Field(default_factory=list)
    error: JobError | None = None
    metrics: Metrics = Field(default_factory=Metrics)

    @property
    def expired(self) -> bool:
        return self.status.final and self.expires_at <= datetime.now(UTC)


class Eta(BaseModel):
    """Seconds until the job starts, from the times that the last jobs took."""

    p50: float
    p90: float


class QueuePlace(BaseModel):
    """Where a queued job stands, the next one at 1; no eta before anything was measured."""

    position: int
    eta_seconds: Eta | None
