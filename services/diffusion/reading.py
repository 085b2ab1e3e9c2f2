"""What a judge can tell of a concept: the noun, its attributes, and the words that say nothing to it."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
EMPTY_WORDS = {"a", "an", "the", "of", "with", "in", "on", "and", "for", "from", "at", "by", "without", "under", "like"}
PREPOSITION = re.compile(r"\b(?:of|with|without|in|on|for|from|at|by|under|like|and)\b")


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


def noun_and_attributes(concept: str, knows: Callable[[str], bool], attributes: Collection[str]) -> Reading:
    """Split a noun phrase: the longest known noun at the end of what stands before a preposition, what is before it."""
    phrase = concept.casefold().strip()
    head, rest = WORD.findall(PREPOSITION.split(phrase)[0]), PREPOSITION.split(phrase, maxsplit=1)[1:]
    head = [word for word in head if word not in EMPTY_WORDS]
    start = next((i for i in range(len(head)) if knows(" ".join(head[i:]))), None)
    if start is None:
        return Reading(None, unknown=(" ".join(head) or concept.strip(),))
    after = [word for part in rest for word in WORD.findall(part) if word not in EMPTY_WORDS]
    known = tuple(word for word in head[:start] if word in attributes)
    strange = [word for word in head[:start] if word not in attributes] + after
    return Reading(" ".join(head[start:]), known, tuple(strange))
