"""What a concept's words are: one form for all ways to write the same noun phrase."""

import re
import unicodedata
from functools import cache

from pluralizer import Pluralizer

DEFAULT_PROMPT = "Professional high-quality photo of a {}. photorealistic, 4k, HQ."
_ARTICLES = re.compile(r"^(?:(?:an?|the) )+")
_INVISIBLE = str.maketrans("", "", "\u00ad\u200b\u2060\ufeff")  # without the joiners, which spelling needs
_ENGLISH = re.compile(r"[a-z]+(?:-[a-z]+)*")
AFTER_HEAD = re.compile(  # the words that end a noun phrase's head
    "about|above|after|at|before|behind|below|beside|between|by|for|from|full|in|inside|into|like|made|near|of|off|on|"
    "onto|out|over|that|to|under|which|who|whose|with|without"
)
_MANY = re.compile(r"\d+|two|three|four|five|six|seven|eight|nine|ten|dozen|many|several|few|both|all|these|those")
_AND = re.compile("and|or|&|.*,.*")
_NO_PLURAL = re.compile(  # the library would shorten them
    "[a-z-]*(?:ics|is|ss|us)|"
    "atlas|barracks|bellows|binoculars|canvas|chaos|christmas|clippers|clothes|corps|cosmos|crossroads|data|dice|"
    "dungarees|gallows|gas|glasses|goggles|headphones|headquarters|jeans|leggings|mars|molasses|news|overalls|pampas|"
    "pants|pliers|pyjamas|rhinoceros|scissors|shorts|species|stairs|sunglasses|thermos|tights|tongs|trousers|tweezers"
)
_IRREGULAR = {"daisy": "daisies", "lens": "lenses", "selfie": "selfies", "waltz": "waltzes"}


def canonical(concept: str) -> str:
    """The concept without what makes no difference: case, spaces, articles before it, and the plural of its head noun.

    Idempotent. What is not English keeps its words, in NFKC and case-folded; a word of doubtful number stays as it is.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", concept).translate(_INVISIBLE).casefold())
    spaced = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    words = _ARTICLES.sub("", " ".join(spaced.split())).split()
    if (head := _head(words)) is not None:
        words[head] = _singular(words[head])
    return " ".join(words)


def has_word(text: str) -> bool:
    """Whether there is a letter, a digit or a pictograph in the text, and not only marks, spaces and what is unseen."""
    return any(character.isalnum() or unicodedata.category(character) == "So" for character in text)


def _head(words: list[str]) -> int | None:
    """Where the head noun stands: before what says more of it ("cups of tea"), or last.

    None where there is no single one: "two cups" are no cup, and "salt and pepper" is two things.
    """
    end = next((place for place, word in enumerate(words) if AFTER_HEAD.fullmatch(word)), len(words))
    several = any(map(_MANY.fullmatch, words[:end])) or any(map(_AND.fullmatch, words))
    return None if several or not end else end - 1


def _singular(word: str) -> str:
    """The word's singular; the word itself if it has none, or one that the library would shorten once more."""
    if not _ENGLISH.fullmatch(word) or _NO_PLURAL.fullmatch(word):
        return word
    one = _english().singular(word)
    is_one = _NO_PLURAL.fullmatch(one) or _english().singular(one) == one
    return one if _ENGLISH.fullmatch(one) and is_one else word


@cache
def _english() -> Pluralizer:
    english = Pluralizer()  # type: ignore[no-untyped-call]
    for one, many in _IRREGULAR.items():
        english.add_irregular_rule(one, many)
    return english
