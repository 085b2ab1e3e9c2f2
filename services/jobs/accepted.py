"""A request as its job's record keeps it, and as the job's document tells it: with everything decided."""

from math import log2
from typing import Literal, Self

from pydantic import Field

from services.jobs.request import DEFAULT_PROMPT, MAX_KEEP_S, MAX_RUN_S, JobRequest
from services.stored import Stored
from services.webhooks.schemas import JobEvent


class AcceptedRarity(Stored):
    """One of the two is set."""

    percentile: float | None = None
    bits: float | None = None

    @property
    def target_bits(self) -> float:
        return self.bits if self.bits is not None else -log2(1 - (self.percentile or 0) / 100)


class AcceptedPicture(Stored):
    """One of the two is set."""

    upload: str | None = None
    output: str | None = None


class AcceptedDirection(Stored):
    """One of the two is set."""

    text: str | None = None
    output: str | None = None


class AcceptedWebhook(Stored):
    url: str
    events: list[JobEvent]


class AcceptedRequest(Stored):
    """What the client asked for, and what it left open as the service decided it once: each attempt sees the same.

    Sent again as a `JobRequest`, it asks for the same.
    """

    concept: str
    prompt: str = DEFAULT_PROMPT
    count: int = 1
    rarity: AcceptedRarity = AcceptedRarity(percentile=99.9)
    mode: Literal["calibrated", "paper"] = "calibrated"
    space: list[Literal["token", "adjective", "lora"]] = Field(default=["lora"])
    steps: int = 50
    trials: int | None = None
    seed: int
    image: AcceptedPicture | None = None
    avoid: list[AcceptedDirection] = Field(default_factory=list)
    toward: list[AcceptedDirection] = Field(default_factory=list)
    exposure: str | None = None
    size: int | None = None
    decoder_steps: int | None = None
    guidance_scale: float | None = None
    format: Literal["png", "webp", "jpeg"] = "png"
    priority: Literal["low", "normal", "high"] = "normal"
    start_within: float | None = None
    run_within: float
    expires_in: int
    webhook: AcceptedWebhook | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, request: JobRequest, *, seed: int, run_limit_s: int = MAX_RUN_S, keep_s: int = MAX_KEEP_S) -> Self:
        """The request, with the seed if it has none, within the service's limit, and kept as long unless it says."""
        decided = {
            "seed": seed if request.seed is None else request.seed,
            "run_within": min(request.run_within or run_limit_s, run_limit_s),
            "expires_in": request.expires_in or keep_s,
        }
        return cls.model_validate(request.model_dump() | decided)
