"""A user's history: which images they have seen, and what they thought of them."""

import base64
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from services.base_models import StoredModel


class Feedback(StrEnum):
    """What the user thought of an image."""

    LIKED = "liked"
    DISLIKED = "disliked"
    NEUTRAL = "neutral"


class View(StoredModel):
    """An image that was seen: JOB_ID/INDEX, its concept, and its embedding as base64 of little-endian float32.

    `model` is the fingerprint of the model in whose space the embedding is; null where that was not noted.
    """

    output: str
    concept: str
    feedback: Feedback
    image_embeds: str
    model: str | None = None

    @classmethod
    def of(
        cls, output: str, concept: str, feedback: Feedback, values: Sequence[float] | bytes, model: str | None
    ) -> Self:
        """The view of an embedding of shape (dim,), as numbers or as the bytes of little-endian float32."""
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}f", *values)
        image_embeds = base64.b64encode(data).decode()
        return cls(output=output, concept=concept, feedback=feedback, image_embeds=image_embeds, model=model)

    def values(self) -> bytes:
        """The embedding as little-endian float32, 4 · dim bytes: what `numpy.frombuffer(…, "<f4")` takes."""
        return base64.b64decode(self.image_embeds)
