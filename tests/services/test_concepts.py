"""One concept has one name, however it is written."""

import pytest

from services.concepts import canonical, says_something

UNCHANGED = (
    "cup",
    "glass",
    "bus",
    "dress",
    "scissors",
    "chess",
    "lens",
    "gas",
    "iris",
    "canvas",
    "trousers",
    "species",
    "tennis",
    "glasses",
    "axis",
    "oasis",
    "cactus",
    "octopus",
    "virus",
    "compass",
    "brass",
    "moss",
    "news",
    "clothes",
    "headphones",
    "tea",
    "fish",
    "sheep",
    "bicycle",
    "shoe",
    "house",
    "vase",
    "chair",
)


@pytest.mark.parametrize("word", UNCHANGED)
def test_a_word_that_is_no_regular_plural_stays(word):
    assert canonical(word) == word


@pytest.mark.parametrize(
    ("written", "concept"),
    [
        ("Cup", "cup"),
        ("cup ", "cup"),
        ("a cup", "cup"),
        ("The  CUPS", "cup"),
        ("ｃｕｐ", "cup"),
        ("chairs", "chair"),
        ("shoes", "shoe"),
        ("houses", "house"),
        ("vases", "vase"),
        ("dresses", "dress"),
        ("boxes", "box"),
        ("buses", "bus"),
        ("watches", "watch"),
        ("knives", "knife"),
        ("shelves", "shelf"),
        ("berries", "berry"),
        ("potatoes", "potato"),
        ("sofas", "sofa"),
        ("mice", "mouse"),
        ("red wooden chairs", "red wooden chair"),
        ("cups of tea", "cup of tea"),
        ("houses with windows", "house with windows"),
        ("手提包", "手提包"),
        ("a", "a"),
    ],
)
def test_case_article_spaces_and_plural_make_no_other_concept(written, concept):
    assert canonical(written) == concept
    assert canonical(concept) == concept


@pytest.mark.parametrize(
    ("text", "says"), [("\u200b", False), ("!?…", False), ("手", True), ("7", True), (" x ", True)]
)
def test_marks_alone_say_nothing(text, says):
    assert says_something(text) is says
