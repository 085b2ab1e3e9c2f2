"""Laws of a concept's words: which of them are one concept, and which are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.texts.concepts import canonical, has_word

KEPT = [
    "glass",
    "bus",
    "dress",
    "glasses",
    "scissors",
    "chess",
    "lens",
    "gas",
    "iris",
    "canvas",
    "trousers",
    "species",
    "tennis",
    "news",
    "jeans",
    "sunglasses",
    "compass",
    "cactus",
    "octopus",
    "cosmos",
    "chaos",
    "oasis",
    "mattress",
    "physics",
    "headphones",
    "binoculars",
    "sheep",
    "rose",
    "house",
    "vase",
    "cheese",
]

ONE = {
    "cups": "cup",
    "chairs": "chair",
    "handbags": "handbag",
    "boxes": "box",
    "dresses": "dress",
    "buses": "bus",
    "lenses": "lens",
    "irises": "iris",
    "canvases": "canvas",
    "knives": "knife",
    "leaves": "leaf",
    "gloves": "glove",
    "stoves": "stove",
    "mice": "mouse",
    "men": "man",
    "children": "child",
    "geese": "goose",
    "cities": "city",
    "daisies": "daisy",
    "cookies": "cookie",
    "potatoes": "potato",
    "shoes": "shoe",
    "sofas": "sofa",
    "t-shirts": "t-shirt",
    "red wooden chairs": "red wooden chair",
    "cups of tea": "cup of tea",
    "houses with windows": "house with windows",
    "house with windows": "house with windows",
    "chairs made of bones": "chair made of bones",
    "glasses of water": "glasses of water",
    "bus stops": "bus stop",
    "two cups": "two cups",
    "red 3 cups": "red 3 cups",
    "chairs for two": "chair for two",
    "salt and pepper mills": "salt and pepper mills",
    "cats, dogs": "cats, dogs",
    "of mice": "of mice",
    "a": "a",
    "the a": "a",
    "s": "s",
    "plan s": "plan s",
    "x-s": "x-s",
    "an": "an",
    "theatre": "theatre",
}


@pytest.mark.parametrize(
    "words", ["Cup", "cup ", "a cup", "cups", "the  CUP", "\tA Cup\n", "cu\u200bp", "ｃｕｐ", "cup\0"]
)
def test_case_plural_articles_and_spaces_make_no_difference(words):
    assert canonical(words) == "cup"


@pytest.mark.parametrize("word", KEPT)
def test_a_word_that_only_looks_like_a_plural_stays(word):
    assert canonical(word) == canonical(f"The {word.title()}") == word


@pytest.mark.parametrize(("words", "one"), ONE.items())
def test_the_head_noun_alone_loses_its_plural(words, one):
    assert canonical(words) == one


@pytest.mark.parametrize("words", ["手提包", "كرسي", "стулья", "かばん", "κύβοι", "میز\u200cها", "👩\u200d🚀"])
def test_words_of_other_languages_stay(words):
    assert canonical(words) == words


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([*KEPT, *ONE, "The", "a"])).map(" ".join), st.from_regex(r"[a-z]*s{0,3}")
    )
)
def test_a_canonical_concept_is_its_own(words):
    assert canonical(canonical(words)) == canonical(words)


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\0", "...", "?!", "—", "\u0301", "\u200d\u2060"])
def test_marks_and_what_nobody_sees_are_no_words(text):
    assert not has_word(text)


@pytest.mark.parametrize("text", ["cup", "7", "手", "👜", "!cup!"])
def test_a_letter_a_digit_or_a_pictograph_is_a_word(text):
    assert has_word(text)
