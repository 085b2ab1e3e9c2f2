"""What is to be drawn: a concept in its prompt, and the picture that its variations start from."""

import hashlib
import json
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from services.bounds import STRENGTH
from services.texts.concepts import canonical


@dataclass(frozen=True, eq=False)
class Subject:
    """A concept, a prompt with one {} for it, and, if there is a picture to vary, its image embedding.

    Variations go as far from the picture as `strength` says, 0 to 1. The concept is in its canonical form, however it
    was written, so that each has one density.
    """

    concept: str
    prompt: str
    start: Float[Tensor, "dim"] | None = None
    strength: float = STRENGTH

    def __post_init__(self) -> None:
        object.__setattr__(self, "concept", canonical(self.concept))

    @property
    def text(self) -> str:
        """The prompt with the concept in its place."""
        return self.described_as(self.concept)

    def described_as(self, phrase: str) -> str:
        """The prompt with another phrase in the concept's place."""
        return self.prompt.replace("{}", phrase)

    def key(self, *more: str | int) -> str:
        """A stable name for what is made of this subject and `more`: 32 hexadecimal digits."""
        return key_of(self.text, self.start, self.strength, *more)


def key_of(text: str, start: Float[Tensor, "dim"] | None, strength: float, *more: str | int) -> str:
    """The same of a text and a start, in whichever of its places the concept stands: 32 hexadecimal digits."""
    picture = None if start is None else hashlib.sha256(start.float().cpu().numpy().tobytes()).hexdigest()
    if picture and strength != STRENGTH:  # whose name is the one of before there were others
        picture += f" {strength}"
    return hashlib.sha256(json.dumps([text, picture, *more]).encode()).hexdigest()[:32]
