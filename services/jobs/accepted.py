"""A request as its job's record keeps it, and as the job's document tells it: with everything decided."""

from math import log2
from typing import Literal

from pydantic import Field

from services.base_models import StoredModel
from services.bounds import DEFAULT_MODEL, STRENGTH
from services.objects.keys import found_prefix, job_prefix, upload_prefix
from services.sizes import Size
from services.texts.concepts import DEFAULT_PROMPT

JobEvent = Literal["job.started", "job.succeeded", "job.failed", "job.canceled"]


class AcceptedRarity(StoredModel):
    """One of the three is set."""

    percentile: float | None = None
    bits: float | None = None
    ladder: list[float] | None = None

    @property
    def target_bits(self) -> float:
        """Of a ladder the last rung."""
        if self.ladder:
            return self.ladder[-1]
        return self.bits if self.bits is not None else -log2(1 - (self.percentile or 0) / 100)


class AcceptedPicture(StoredModel):
    """One of the first two is set."""

    upload: str | None = None
    output: str | None = None
    strength: float = STRENGTH


class AcceptedFound(StoredModel):
    """One of the first two is set."""

    output: str | None = None
    kept: str | None = None
    strength: float | None = None


class AcceptedDirection(StoredModel):
    """One of the first two is set."""

    text: str | None = None
    output: str | None = None
    weight: float = 1.0


class AcceptedWebhook(StoredModel):
    url: str
    events: list[JobEvent]


class AcceptedRequest(StoredModel):
    """What the client asked for, and what it left open as the service decided it once: each attempt sees the same.

    It comes from `JobRequest.accepted`; sent again as a `JobRequest`, it asks for the same.
    """

    concept: str
    prompt: str = DEFAULT_PROMPT
    model: str = DEFAULT_MODEL
    count: int = 1
    rarity: AcceptedRarity = AcceptedRarity(percentile=99.9)
    mode: Literal["calibrated", "paper"] = "calibrated"
    space: list[Literal["token", "adjective", "lora"]] = Field(default=["lora"])
    steps: int = 50
    trials: int | None = None
    seed: int
    image: AcceptedPicture | None = None
    found: AcceptedFound | None = None
    avoid: list[AcceptedDirection] = Field(default_factory=list)
    toward: list[AcceptedDirection] = Field(default_factory=list)
    variety: float = 0.0
    exposure: str | None = None
    size: Size | None = None
    decoder_steps: int | None = None
    guidance_scale: float | None = None
    format: Literal["png", "webp", "jpeg"] = "png"
    priority: Literal["low", "normal", "high"] = "normal"
    start_within: float | None = None
    run_within: float
    expires_in: int
    webhook: AcceptedWebhook | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def picture_prefix(self) -> str:
        """All that belongs, in the store, to the upload, found thing or output's job that it begins with; or ""."""
        if self.image and self.image.upload:
            return upload_prefix(self.image.upload)
        if self.found and self.found.kept:
            return found_prefix(self.found.kept)
        beginning = self.found or self.image
        return job_prefix(beginning.output.partition("/")[0]) if beginning and beginning.output else ""
