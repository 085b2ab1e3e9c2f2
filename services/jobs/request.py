"""What a client asks for, and all that is wrong with it, each at its place."""

import unicodedata
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, LiteralString, Self

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from services.base_models import Form, WireModel
from services.bounds import DEFAULT_MODEL, MAX_KEEP_S, MAX_RUN_S, MODEL_NAME, OUTPUTS, STRENGTH
from services.jobs.accepted import AcceptedRequest, JobEvent
from services.texts.concepts import DEFAULT_PROMPT, canonical, has_word
from services.texts.unseen import first_unseen

METADATA_LIMIT_BYTES = 1024
MAX_ASPECT = 3  # how many times the shorter side the longer one may be
RUNG_BITS = 0.5  # how far a picture may be beyond its rung: the next one is no nearer
URL_LIMIT = 2048
MAX_SEED = 2**53 - 1  # what every JSON reader keeps exactly

_URL = TypeAdapter(AnyHttpUrl)
_OPTIMISED = ("rarity", "mode", "space", "steps", "image", "avoid", "toward", "variety")
_ENDINGS: list[JobEvent] = ["job.succeeded", "job.failed", "job.canceled"]


def seen(text: str) -> str:
    """The text, which has nothing in it that cannot be seen."""
    if unseen := first_unseen(text):
        raise PydanticCustomError("unseen", "has a character that cannot be seen: {unseen}", {"unseen": unseen})
    return text


def _one_place(prompt: str) -> str:
    if (places := prompt.count("{}")) != 1:
        detail = "has {places} places for the concept, needs one {place}"  # its template has no escape for braces
        raise PydanticCustomError("prompt", detail, {"places": places, "place": "{}"})
    return prompt


def _some_word(text: str) -> str:
    if not has_word(text):
        raise PydanticCustomError("words", "has no letter or digit: {text}", {"text": ascii(text)})
    return text


def _nameable(key: str) -> str:
    if not key.strip() or key in {".", ".."} or any(unicodedata.category(character) == "Cc" for character in key):
        raise PydanticCustomError("key", "is blank, dots alone or has control characters: {key}", {"key": ascii(key)})
    return key


Prompt = Annotated[
    str,
    Field(max_length=1000, description="Has exactly one {} for the concept."),
    AfterValidator(_one_place),
    AfterValidator(seen),
]
SomeText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_some_word), AfterValidator(seen)]
ExposureKey = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_nameable)]
MetadataText = Annotated[str, Field(max_length=METADATA_LIMIT_BYTES)]  # bounded, so that it is checked to be Unicode
FoundId = Annotated[str, Form("^[0-9a-f]{32}$", "has to be the `id` of a found thing")]
ModelName = Annotated[
    str,
    Form(MODEL_NAME, "has to be the name of a model"),
    Field(json_schema_extra={"minLength": 1, "maxLength": 63}),
]
UploadId = Annotated[str, Form("^[0-9a-f]{32}$", "has to be the `id` of a picture")]
OutputRef = Annotated[
    str,
    Form(
        "^[0-9a-f]{32}/(0|[1-9][0-9]?)$", "has to be JOB_ID/INDEX: a job's `id` and the `index` of one of its outputs"
    ),
    Field(description="JOB_ID/INDEX"),
]


class OneOf(WireModel):
    """A document that has exactly one of its fields that are null by default, and are not `beside` them."""

    beside: ClassVar[set[str]] = set()

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        fields = {name: field for name, field in type(self).model_fields.items() if name not in self.beside}
        names = [name for name, field in fields.items() if field.default is None]
        if sum(getattr(self, name) is not None for name in names) != 1:
            *others, last = names
            listed = f"{', '.join(others)} and {last}"
            raise PydanticCustomError("one_of", "give exactly one of {names}", {"names": listed})
        return self


def refusal(location: tuple[str | int, ...], detail: LiteralString, **values: float) -> ValidationError:
    """The error of a place below the model that a validator of the whole model finds wrong."""
    error = PydanticCustomError("refused", detail, values)
    return ValidationError.from_exception_data("", [InitErrorDetails(type=error, loc=location, input=None)])


class Rarity(OneOf):
    """How rare: a percentile of the concept's plain samples, or bits = −log₂ of the share that is as rare; or a ladder
    of bits, at each rung of which every trial that is handed out leaves a picture."""

    percentile: float | None = Field(default=None, ge=50, le=99.999)
    bits: float | None = Field(default=None, ge=1, le=30)
    ladder: list[Annotated[float, Field(ge=1, le=30)]] | None = Field(
        default=None, min_length=2, max_length=8, description="Each at least half a bit above the one before."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for index, (one, following) in enumerate(pairwise(self.ladder or []), start=1):
            if following < one + RUNG_BITS:
                detail = "is {bits} after {before}, needs to be half a bit above it at least"
                raise refusal(("ladder", index), detail, bits=following, before=one)
        return self


Edge = Annotated[int, Field(strict=True, ge=64, le=2048, multiple_of=64)]


class PictureSize(WireModel):
    """The sides of a picture in pixels, the longer at most three times the shorter."""

    width: Edge
    height: Edge

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        shorter, longer = sorted(("width", "height"), key=lambda side: getattr(self, side))
        least, most = getattr(self, shorter), getattr(self, longer)
        if most > MAX_ASPECT * least:
            detail = "is {most}, has to be 3 times the other side, {least}, at most"
            raise refusal((longer,), detail, most=most, least=least)
        return self


_EDGE = TypeAdapter(Edge)


def _edge_or_sides(size: Any, _union: object) -> int | PictureSize:
    """What is wrong is told of the form that it is in; a square is its edge, however it is written."""
    if not isinstance(size, dict | PictureSize):
        return _EDGE.validate_python(size)
    sides = PictureSize.model_validate(size)
    return sides.width if sides.width == sides.height else sides


class PictureRef(OneOf):
    """A picture to start from: one that was uploaded, or another job's output; and how far to go from it."""

    upload: UploadId | None = None
    output: OutputRef | None = None
    strength: float = Field(
        default=STRENGTH, ge=0, le=1, description="From 0, the same with other noise, to 1, only its family."
    )


class FoundRef(OneOf):
    """What an output's trial has learnt, or is kept of that, to draw it again: as it was, or in another sentence."""

    beside: ClassVar[set[str]] = {"strength"}

    output: OutputRef | None = None
    kept: FoundId | None = None
    strength: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of what was learnt; null: all in its own sentence, in another what leaves that half of its say.",
    )


class Direction(OneOf):
    """Where to go, or what to stay away from: words, or what another job's output learnt; and how much it counts."""

    text: SomeText | None = None
    output: OutputRef | None = None
    weight: float = Field(default=1.0, ge=0, le=2, description="0: as if it were not named.")

    @property
    def meaning(self) -> tuple[str | None, str | None]:
        """Equal for directions that are the same; case and space around a text make no difference."""
        return self.text and canonical(self.text), self.output


def _plain_url(text: str) -> str:
    """The URL as the WHATWG writes it (127.1 becomes 127.0.0.1), without anything that is not for the receiver."""
    try:
        url = _URL.validate_python(text)
    except ValidationError as error:
        raise PydanticCustomError("webhook_url", "is no http(s) URL") from error
    if url.username or url.password:
        raise PydanticCustomError("webhook_url", "has credentials in it: deliveries are signed instead")
    if url.fragment is not None:
        raise PydanticCustomError("webhook_url", "has a fragment, which is never sent")
    if len(str(url)) > URL_LIMIT:
        raise PydanticCustomError("webhook_url", "is longer than 2048 characters, once it is percent-encoded")
    return str(url)


WebhookUrl = Annotated[
    str,
    Field(max_length=URL_LIMIT, json_schema_extra={"format": "uri"}, examples=["https://design.example/hooks/rarebit"]),
    AfterValidator(_plain_url),
]


class Webhook(WireModel):
    """Who is told of what, by the Standard Webhooks specification."""

    url: WebhookUrl
    events: list[JobEvent] = Field(default=_ENDINGS, min_length=1, max_length=8)


class BatchWebhook(WireModel):
    """Who is told, once, that the last job of a batch has ended."""

    url: WebhookUrl


class JobRequest(WireModel):
    """What a client asks for."""

    concept: Annotated[SomeText, Field(examples=["handbag"])]
    prompt: Prompt = DEFAULT_PROMPT
    model: ModelName | None = Field(
        default=None, description="Which of the models that `GET /v1/models` names; null: the first of them."
    )
    count: int = Field(
        default=1, ge=1, le=OUTPUTS, description="Images; on a ladder columns, of which all rungs are 16 at most."
    )
    rarity: Rarity = Rarity(percentile=99.9)
    mode: Literal["calibrated", "paper"] = Field(default="calibrated", description="paper: one trial, as published.")
    space: list[Literal["token", "adjective", "lora"]] = Field(
        default=["lora"], min_length=1, max_length=3, description="What is optimised; each at most once."
    )
    steps: int = Field(default=50, ge=1, le=1000, description="At most; on a ladder to each rung.")
    trials: int | None = Field(
        default=None, ge=1, le=64, description="At least count; null: 4 · count + 4, up to 64. In mode paper 1 or null."
    )
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="null: drawn, and reported here.")
    image: PictureRef | None = Field(default=None, description="The picture to start from.")
    found: FoundRef | None = Field(
        default=None, description="What is drawn again, of the same concept, with nothing to optimise."
    )
    avoid: list[Direction] = Field(default=[], max_length=8, description="Stay away from these.")
    toward: list[Direction] = Field(default=[], max_length=8, description="Lean to these.")
    variety: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Of the valid trials 0 hands out the most valid ones, 1 the most different.",
    )
    exposure: ExposureKey | None = Field(
        default=None, description="Whose history novelty is measured against, and added to."
    )
    size: Annotated[Edge | PictureSize, WrapValidator(_edge_or_sides)] | None = Field(
        default=None, description="Pixels: the edge of a square, or width and height; null: the model's own."
    )
    decoder_steps: int | None = Field(default=None, ge=1, le=200)
    guidance_scale: float | None = Field(default=None, ge=1, le=30)
    format: Literal["png", "webp", "jpeg"] = "png"
    priority: Literal["low", "normal", "high"] = Field(
        default="normal", description="Ten minutes later, or earlier, than its turn."
    )
    start_within: float | None = Field(
        default=None, gt=0, le=MAX_KEEP_S, description="Seconds until the first start at most; null: however long."
    )
    run_within: float | None = Field(
        default=None, gt=0, le=MAX_RUN_S, description="Seconds of running, of all attempts; null: the service's limit."
    )
    expires_in: int | None = Field(default=None, ge=1, le=MAX_KEEP_S, description="Seconds; null: the service's own.")
    webhook: Webhook | None = Field(default=None, description="Who is told when the job starts or ends.")
    metadata: dict[MetadataText, MetadataText] = Field(default={}, description="At most 1 KiB of JSON; echoed.")

    @field_validator("space")
    @classmethod
    def _no_repeats(cls, space: list[str]) -> list[str]:
        if len(set(space)) < len(space):
            raise PydanticCustomError("space", "names a space twice")
        return space

    @field_validator("trials")
    @classmethod
    def _enough_trials(cls, trials: int | None, info: ValidationInfo) -> int | None:
        count, paper = info.data.get("count", 1), info.data.get("mode") == "paper"
        if paper and trials not in {None, 1}:
            raise PydanticCustomError("trials", "is {trials}, mode paper has one trial", {"trials": trials})
        if not paper and trials is not None and trials < count:
            raise PydanticCustomError("trials", "is less than count, {count}: each image has a trial", {"count": count})
        return trials

    @model_validator(mode="after")
    def _each_direction_once(self) -> Self:
        """A contradiction or a repeat is refused where it stands: at /avoid/0, not at the whole list."""
        toward = [direction.meaning for direction in self.toward if direction.weight]
        for name in ("avoid", "toward"):
            meanings = [direction.weight and direction.meaning for direction in getattr(self, name)]
            for index, meaning in enumerate(meanings):
                if meaning and meaning in meanings[:index]:
                    raise refusal((name, index), "is in the list twice")
                if name == "avoid" and meaning in toward:
                    raise refusal((name, index), "is in toward too")
        return self

    @model_validator(mode="after")
    def _as_published(self) -> Self:
        if self.mode == "paper" and any(direction.weight for direction in self.toward):
            raise refusal(("toward",), "is no part of mode paper")
        if self.mode == "paper" and self.rarity.ladder:
            raise refusal(("rarity", "ladder"), "is no part of mode paper")
        if self.variety and (self.mode == "paper" or self.rarity.ladder):
            raise refusal(("variety",), "is of the calibrated mode with a single target")
        return self

    @model_validator(mode="after")
    def _nothing_to_optimise(self) -> Self:
        if self.found and (name := next(iter(self.optimised), None)):
            raise refusal((name,), "is of what is optimised; what is found is only drawn again")
        return self

    @property
    def optimised(self) -> list[str]:
        """What it says of how pictures are to be found."""
        return [name for name in _OPTIMISED if getattr(self, name) != type(self).model_fields[name].default]

    @model_validator(mode="after")
    def _few_outputs(self) -> Self:
        if (rungs := len(self.rarity.ladder or [])) * self.count > OUTPUTS:
            detail = "is {count}, with {rungs} rungs there are {most} columns at most: a job has {outputs} images"
            values = {"count": self.count, "rungs": rungs, "most": OUTPUTS // rungs, "outputs": OUTPUTS}
            raise refusal(("count",), detail, **values)
        return self

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, str]) -> dict[str, str]:
        size = sum(len(key.encode()) + len(value.encode()) + 6 for key, value in metadata.items())  # "k":"v",
        if size > METADATA_LIMIT_BYTES:
            raise PydanticCustomError("metadata", "has {size} bytes, 1024 are kept", {"size": size})
        return metadata

    def accepted(
        self, *, seed: int, model: str = DEFAULT_MODEL, run_limit_s: int = MAX_RUN_S, keep_s: int = MAX_KEEP_S
    ) -> AcceptedRequest:
        """The request, with seed and model if it has none, within the service's limit, and kept as long unless it
        says."""
        decided = {
            "model": self.model or model,
            "seed": seed if self.seed is None else self.seed,
            "run_within": min(self.run_within or run_limit_s, run_limit_s),
            "expires_in": self.expires_in or keep_s,
        }
        return AcceptedRequest.model_validate(self.model_dump() | decided)
