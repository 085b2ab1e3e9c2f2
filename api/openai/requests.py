"""What OpenAI's clients ask for, as the job that it means."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from services.base_models import WireModel
from services.bounds import OUTPUTS
from services.jobs.request import JobRequest, ModelName

_RENAMED = {"count": "n", "format": "output_format"}  # a job's fields that have another name here
_SOMETHING = "object"
_SIDES = re.compile(r"[0-9]{1,4}x[0-9]{1,4}")


def _sides(size: str) -> str:
    if size != "auto" and not _SIDES.fullmatch(size):
        detail = "has to be auto, which is the model's own, or width and height as 512x512, and is {size}"
        raise PydanticCustomError("size", detail, {"size": ascii(size[:40])})
    return size


def _whole(stream: bool) -> bool:
    if stream:
        raise PydanticCustomError("stream", "is not offered: images come when all are made")
    return stream


class ImagesRequest(WireModel):
    """OpenAI's request for images; every other field is a job's, but for `count` and `format`, which are `n` and
    `output_format` here. What can be asked of OpenAI and not of this service is refused by name."""

    model_config = ConfigDict(extra="allow")

    prompt: str = Field(
        description="The noun phrase to be creative about; or, with the field `concept`, where {} stands for that.",
        examples=["handbag"],
    )
    model: ModelName | None = Field(default=None, description="As `GET /v1/models` has it; null: the first of them.")
    n: int | None = Field(default=None, ge=1, le=OUTPUTS, description="Images wanted; null: one.")
    size: Annotated[str, AfterValidator(_sides)] | None = Field(
        default=None, description="auto or null: the model's own; or width and height, as 768x512.", examples=["auto"]
    )
    response_format: Literal["url", "b64_json"] | None = Field(default=None, description="null: url.")
    output_format: Literal["png", "webp", "jpeg"] | None = Field(default=None, description="null: png.")
    user: str | None = Field(default=None, max_length=256, description="Kept in the job's `metadata`.")
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto"] | None = None
    stream: Annotated[bool, AfterValidator(_whole)] | None = None
    partial_images: int | None = Field(default=None, ge=0, le=0)

    @classmethod
    def of_form(cls, document: dict[str, Any]) -> Self:
        """The request of a form, whose numbers are texts. RequestValidationError names what is wrong with it."""
        try:
            return cls.model_validate(document, strict=False)
        except ValidationError as error:
            raise _refusal(error, {}) from None

    def job(self, **more: Any) -> JobRequest:
        """The job that is meant, with `more` of its fields. RequestValidationError names fields as they are here.

        A request of a form has numbers as texts, which JSON has not; what a job takes of either is the same.
        """
        rest = {name: value for name, value in (self.model_extra or {}).items() if value is not None}
        _refuse_renamed(rest)
        has_place = "{}" in self.prompt or "concept" in rest
        words, named = ({"prompt": self.prompt}, {}) if has_place else ({"concept": self.prompt}, {"concept": "prompt"})
        try:
            return JobRequest.model_validate(rest | dict(self._own(rest)) | words | more, strict=self._strict)
        except ValidationError as error:
            raise _refusal(error, _RENAMED | named) from None

    @property
    def _strict(self) -> bool:
        return True

    def _own(self, rest: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """A job's fields of those that OpenAI has too."""
        metadata = rest.get("metadata", {})
        if self.user is not None and isinstance(metadata, dict):
            yield "metadata", metadata | {"user": self.user}
        if self.model is not None:
            yield "model", self.model
        if self.n is not None:
            yield "count", self.n
        if self.output_format is not None:
            yield "format", self.output_format
        if self.size not in {None, "auto"}:
            width, _, height = str(self.size).partition("x")
            yield "size", {"width": int(width), "height": int(height)}


class VariationsRequest(ImagesRequest):
    """OpenAI's request for variations, which is a form; its other fields are a job's."""

    prompt: str = Field(
        default=_SOMETHING,
        description="The noun phrase of what the picture shows, which a job needs.",
        examples=["cup"],
    )

    @property
    def _strict(self) -> bool:
        return False


def _refuse_renamed(fields: dict[str, Any]) -> None:
    if found := [{"loc": ("body", job), "msg": f"is {own} here"} for job, own in _RENAMED.items() if job in fields]:
        raise RequestValidationError(found)


def _refusal(error: ValidationError, named: dict[str, str]) -> RequestValidationError:
    """What pydantic found, at the fields as the client has them."""
    found = [(one["loc"], dict(one)) for one in error.errors()]
    return RequestValidationError(
        [{**one, "loc": ("body", named.get(str(first), first), *rest)} for (first, *rest), one in found]
    )
