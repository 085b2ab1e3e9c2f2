"""What a job can be asked for: the fields of `POST /jobs`, where a picture may stand for its reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from rarebit_client.image import Image


class Weighed(TypedDict, total=False):
    """What counts more or less than others, and where else: `{"text": "red", "weight": 0.5}`."""

    text: str
    output: str
    weight: float


class Start(TypedDict, total=False):
    """A picture to start from, and how far to go from it: `{"output": image.ref, "strength": 0.2}`."""

    upload: str | Path | bytes  # its id, or a file that is uploaded first
    output: str
    strength: float


class Found(TypedDict, total=False):
    """What is drawn again, and how much of it: `{"output": image.ref, "strength": 0.7}`, or `{"kept": found.id}`."""

    output: str
    kept: str
    strength: float | None


Direction = str | Image | Weighed


class Webhook(TypedDict, total=False):
    """Where to call, and of which events."""

    url: str
    events: Sequence[str]


class Size(TypedDict):
    """The sides in pixels of a picture that is not square: `{"width": 768, "height": 512}`."""

    width: int
    height: int


class JobOptions(TypedDict, total=False):
    """Every field is explained in the gateway's /docs; what is left out has the service's default."""

    prompt: str
    model: str | None
    count: int
    rarity: Mapping[str, float | Sequence[float]]  # percentile, bits or ladder
    mode: Literal["calibrated", "paper"]
    space: Sequence[Literal["token", "adjective", "lora"]]
    steps: int
    trials: int | None
    seed: int | None
    image: Image | Path | bytes | Start | None  # a path or bytes are uploaded first
    found: Image | Found | None
    avoid: Sequence[Direction]
    toward: Sequence[Direction]
    variety: float
    exposure: str | None
    size: int | Size | None
    decoder_steps: int | None
    guidance_scale: float | None
    format: Literal["png", "webp", "jpeg"]
    priority: Literal["low", "normal", "high"]
    start_within: float | None
    run_within: float | None
    expires_in: int | None
    webhook: Webhook | None
    metadata: Mapping[str, str]


class JobFields(JobOptions, total=False):
    """A job of a batch."""

    concept: str


def body_of(fields: JobFields) -> dict[str, Any]:
    """The request as JSON has it: words become `text`, pictures their reference."""
    body: dict[str, Any] = {**fields}
    for name in {"avoid", "toward"} & body.keys():
        body[name] = [_reference(direction) for direction in body[name]]
    for name in {"image", "found"} & body.keys():
        body[name] = _reference(body[name])
    return body


def media_type_of(picture: bytes) -> str:
    """By its first bytes; the gateway refuses what is none of the three."""
    if picture.startswith(b"\xff\xd8"):
        return "image/jpeg"
    return "image/webp" if picture[8:12] == b"WEBP" else "image/png"


def _reference(value: Any) -> Any:
    if isinstance(value, Image):
        return {"output": value.ref}
    return {"text": value} if isinstance(value, str) else value
