"""What a concept is called: one form for upper and lower case, articles, spaces and the plural of its noun."""

import re
import unicodedata

ARTICLE = re.compile(r"^(?:an?|the) (?=\S)")
AFTER_NOUN = re.compile(r" (?:of|with|without|in|on|for|from|at|by|under|like|and) ")
WORD = re.compile(r"[^\W_]")
IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
    "women": "woman",
}
SINGULAR = {
    "atlas",
    "binoculars",
    "canvas",
    "christmas",
    "clothes",
    "earphones",
    "gas",
    "glasses",
    "goggles",
    "headphones",
    "jeans",
    "lens",
    "news",
    "pants",
    "pyjamas",
    "scissors",
    "series",
    "shorts",
    "species",
    "stairs",
    "trousers",
}
PLURALS = (
    (r"(kni|li|wi)ves$", r"\1fe"),
    (r"(lea|shel|wol|scar|loa|hal|cal)ves$", r"\1f"),
    (r"([^aeiou])ies$", r"\1y"),
    (r"(ch|sh|ss|x|z)es$", r"\1"),
    (r"(tat|mat)oes$", r"\1o"),
    (r"bus(s?)es$", "bus"),
    (r"([^sui])s$", r"\1"),
)


def canonical(concept: str) -> str:
    """The form under which a concept has its density: "The Chairs " and "chair" are one."""
    phrase = " ".join(unicodedata.normalize("NFKC", concept).casefold().split())
    phrase = ARTICLE.sub("", phrase)
    noun = AFTER_NOUN.split(phrase, maxsplit=1)[0]
    before, space, word = noun.rpartition(" ")
    return before + space + singular(word) + phrase[len(noun) :]


def singular(word: str) -> str:
    """An English noun's singular by the regular endings, so that bus, dress, cactus and iris stay as they are."""
    if word in SINGULAR or len(word) < 4 or not word.isascii():
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    pattern, form = next(((p, f) for p, f in PLURALS if re.search(p, word)), ("$", ""))
    return re.sub(pattern, form, word, count=1)


def says_something(text: str) -> bool:
    """Whether there is a letter or a digit of any script in it."""
    return bool(WORD.search(text))
