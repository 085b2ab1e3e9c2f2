"""What a judge can tell of a concept: the noun, its attributes, and the words that say nothing to it."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.texts.concepts import AFTER_HEAD, canonical

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|,")
EMPTY_WORDS = {"a", "an", "the", "and", ","}


@dataclass(frozen=True)
class Reading:
    """`noun` is what the judge looks for, None where it knows none; `unknown` are the words that it does not judge."""

    noun: str | None
    attributes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """What is to be said before a picture is called good: nothing, or one sentence."""
        if not self.unknown:
            return []
        words = ", ".join(f"‘{word}’" for word in self.unknown)
        if self.noun is None:
            return [f"the judge does not know {words}: validity is not given"]
        judged = " ".join([*self.attributes, self.noun])
        return [f"the judge does not judge {words}: validity is that of ‘{judged}’"]


def noun_and_attributes(
    concept: str, nouns: Collection[str], attributes: Collection[str], near: Callable[[str], bool]
) -> Reading:
    """The longest of `nouns` that ends the head of the phrase, and what is before it.

    If there is none, the head's last word where it is `near` enough to one of them.
    """
    phrase = canonical(concept)
    if phrase in nouns:
        return Reading(phrase)
    words = WORD.findall(phrase)
    end = next((i for i, word in enumerate(words) if i and (word == "," or AFTER_HEAD.fullmatch(word))), len(words))
    head = [word for word in words[:end] if word not in EMPTY_WORDS]
    endings = [canonical(" ".join(head[i:])) for i in range(len(head))]
    start = next((i for i, ending in enumerate(endings) if ending in nouns), None)
    if start is None and head and near(head[-1]):
        start = len(head) - 1
    if start is None:
        return Reading(None, unknown=(phrase or concept,))
    after = [word for word in words[end:] if word not in EMPTY_WORDS and not AFTER_HEAD.fullmatch(word)]
    known = tuple(word for word in head[:start] if word in attributes)
    strange = [word for word in head[:start] if word not in attributes] + after
    return Reading(endings[start], known, tuple(strange))
