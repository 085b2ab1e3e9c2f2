"""Names for the 2-D pictures: which word families there are, what a raw icon name means and what is left out.

The words themselves (families, aliases, what to drop, who is a person) stand in names_2d.json.
"""

import json
import re
import unicodedata
from pathlib import Path

WORDS = json.loads((Path(__file__).parent / "names_2d.json").read_text())
FAMILIES = {key: words.split(", ") for key, words in WORDS["families"].items()}
ALIAS_OF = {name: canonical for canonical, names in WORDS["aliases"].items() for name in names.split(", ")}


def any_of(words):
    return re.compile(rf"\b({words.replace(', ', '|')})\b")


DROP, PERSON = any_of(WORDS["drop"]), any_of(WORDS["person"])
PREFIX = re.compile("^" + any_of(WORDS["prefixes"]).pattern + " ")
NOT_FAMILY = re.compile(WORDS["not_family"])
WRONG = WORDS["wrong"].split(", ")  # pictures that show something else than their name
SKIP_CATEGORIES = WORDS["skip_categories"].split(", ")
FILLER = any_of("fill, flat, duo, default, alternate, alt, bw, svg, simple, architetto, colou?r, colou?red, the, a, an")
UI_SETS = {"icon-park", "fluent-color", "flat-color-icons", "streamline-plump-color"}  # there "table" is a spreadsheet


def plain(name):
    """Lowercase words separated by single spaces, without accents and punctuation."""
    name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower().replace("'", "")
    return re.sub(r"[^a-z0-9]+", " ", name).strip()


def squeezed(name):
    return plain(name).replace(" ", "")


class Emoji:
    """What emojibase knows: label by code point, group and tags by squeezed name, and words to split joined names."""

    def __init__(self, build):
        rows = json.loads((build / "node_modules/emojibase-data/en/data.json").read_text())
        self.by_code = {row["hexcode"].replace("-FE0F", ""): row["label"] for row in rows}
        self.by_name = {squeezed(row["label"]): row for row in rows}
        symbols = (*range(0x2190, 0x2C00), *range(0x1F000, 0x1FB00))
        names = [row["label"] for row in rows] + [unicodedata.name(chr(code), "") for code in symbols]
        self.spaced = {squeezed(name): plain(name) for name in names}
        self.spaced[""] = ""
        words = {word for name in self.spaced.values() for word in name.split() if len(word) > 2}
        self.words = words | {"on", "of", "in"}

    def split(self, joined):
        """The fewest words of a name written without spaces ("studiomicrophone"); None if it is not made of words."""
        if joined not in self.spaced:
            heads = [joined[:i] for i in range(2, len(joined) + 1) if joined[:i] in self.words]
            tails = [(head, self.split(joined[len(head) :])) for head in heads]
            options = [f"{head} {tail}".strip() for head, tail in tails if tail is not None]
            self.spaced[joined] = min(options, key=lambda option: option.count(" "), default=None)
        return self.spaced[joined]


def clean(raw, source):
    """A simple canonical noun phrase, or None for what the data set leaves out."""
    if re.search(r"skin.tone", raw) or (source.startswith("fluent-emoji") and re.search(r"-(light|medium|dark)$", raw)):
        return None
    name = plain(FILLER.sub(" ", plain(raw)))
    if not re.search("emoji|noto|game", source):
        name = PREFIX.sub("", plain(re.sub(r"\b(\d+|v\d+|circle|square|[b-su-z])\b", " ", name)))
    if re.search(r"oclock|thirty", name.replace(" ", "")):
        return "clock"
    name = ALIAS_OF.get(name, name)
    unfit = len(name.split()) > (6 if "emoji" in source else 4) or f"{source} {name}" in WRONG
    return None if not name or unfit or DROP.search(name) or re.search(r"\d", name) else name


def family(name, source):
    """The family whose word ends the noun phrase (what stands before with, in, on, of), or None."""
    head = re.split(r" (?:with|in|on|of|and|without|under|behind) ", name)[0]
    if NOT_FAMILY.search(name) or (source in UI_SETS and head == "table"):
        return None
    fits = [(len(word), key) for key, words in FAMILIES.items() for word in words if f" {head}".endswith(f" {word}")]
    return max(fits)[1] if fits else None


def is_person(name, source):
    return not family(name, source) and bool(PERSON.search(name))
