"""What is wrong with a request, in its own words."""

from math import log2

import pytest
from pydantic import ValidationError

from services.jobs.accepted import AcceptedRarity, AcceptedRequest
from services.jobs.request import JobRequest


def test_prompt_without_a_place_is_told_what_a_place_looks_like():
    with pytest.raises(ValidationError, match=r"has 0 places for the concept, needs one \{\} "):
        JobRequest(concept="cup", prompt="a {concept}")


@pytest.mark.parametrize("field", ["concept", "avoid", "toward"])
@pytest.mark.parametrize("text", ["\u200b", "...", "\0"])
def test_a_text_without_a_word_is_refused_with_its_field_and_value(field, text):
    own = {"concept": text} if field == "concept" else {"concept": "cup", field: [{"text": text}]}
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate(own)
    [error] = refused.value.errors()
    assert (error["loc"][0], error["msg"]) == (field, f"has no letter or digit: {text!a}")


def test_a_request_keeps_the_concept_as_it_was_written():
    assert JobRequest(concept=" The  CUPs").concept == " The  CUPs"


@pytest.mark.parametrize("size", [None, 64, 2048, {"width": 768, "height": 512}, {"width": 64, "height": 192}])
def test_a_size_is_kept_in_the_form_that_it_has_and_asks_for_the_same_again(size):
    request = JobRequest.model_validate({"concept": "cup", "size": size})
    kept = request.accepted(seed=0).model_dump(mode="json")
    assert kept["size"] == size
    assert JobRequest.model_validate(AcceptedRequest.model_validate(kept).model_dump()).size == request.size


def test_a_square_is_its_edge_however_it_is_written():
    square = JobRequest.model_validate({"concept": "cup", "size": {"width": 512, "height": 512}})
    assert square.accepted(seed=0) == JobRequest(concept="cup", size=512).accepted(seed=0)


@pytest.mark.parametrize(
    ("size", "place", "words"),
    [
        (65, (), "should be a multiple of 64"),
        ("512", (), "should be a valid integer"),
        ({"width": 65, "height": 64}, ("width",), "should be a multiple of 64"),
        ({"width": 64, "height": 2112}, ("height",), "should be less than or equal to 2048"),
        ({"width": 64}, ("height",), "Field required"),
        ({"width": 64, "height": 64, "depth": 1}, ("depth",), "Extra inputs are not permitted"),
        ({"width": 256, "height": 64}, ("width",), "is 256, has to be 3 times the other side, 64, at most"),
        ({"width": 576, "height": 1792}, ("height",), "is 1792, has to be 3 times the other side, 576, at most"),
    ],
)
def test_what_is_wrong_with_a_size_is_told_at_its_side(size, place, words):
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate({"concept": "cup", "size": size})
    [error] = refused.value.errors()
    assert error["loc"] == ("size", *place)
    assert words in error["msg"]


SEEN = [
    "cup",
    "red\ncup",
    "می‌خواهم",  # Persian
    "خانه‌ای آبی",
    "क्‍ष",  # Hindi
    "र‍्य",  # Bengali and Marathi, joined before the virama
    "ക്‍",  # Malayalam
    "කාර්‍ය",  # Sinhala
    "ការ​ងារ",  # Khmer, without a width between words
    "שלום!\u200f",
    "ᠬᠠᠭ\u180eᠠ",  # Mongolian
    "کتاب\u061c 12",
    "👩‍💻",
    "👩🏽‍🚀 cup",
    "❤️‍🔥",
    "🏳️‍🌈",
    "👨‍👩‍👧‍👦",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
    "Hand\u00adtasche",
    "7️⃣",
]
UNSEEN = {
    "cup\0": "U+0000",
    "cu\x1bp": "U+001B",
    "cup\x7f": "U+007F",
    "cup\x85": "U+0085",
    "cu\u200bp": "U+200B ZERO WIDTH SPACE",
    "cu\u200dp": "U+200D ZERO WIDTH JOINER",
    "\ufeffcup": "U+FEFF ZERO WIDTH NO-BREAK SPACE",
    "cup\u2060": "U+2060 WORD JOINER",
    "cup\u202egub": "U+202E RIGHT-TO-LEFT OVERRIDE",
    "שלום\u202a": "U+202A LEFT-TO-RIGHT EMBEDDING",
    "cup\u2066": "U+2066 LEFT-TO-RIGHT ISOLATE",
    "cup\u200e": "U+200E LEFT-TO-RIGHT MARK",
    "cup\u061c": "U+061C ARABIC LETTER MARK",
    "cup\U000e0067": "U+E0067 TAG LATIN SMALL LETTER G",
    "cup\u3164": "U+3164 HANGUL FILLER",
    "\u2800": "U+2800 BRAILLE PATTERN BLANK",
}


@pytest.mark.parametrize("text", SEEN)
def test_what_a_writing_needs_is_taken_though_it_is_not_seen(text):
    request = JobRequest(concept=text, prompt=f"a {{}}, {text}", avoid=[{"text": text}])
    assert (request.concept, request.avoid[0].text) == (text, text)


@pytest.mark.parametrize("text", UNSEEN)
def test_a_character_that_cannot_be_seen_is_named_at_its_field(text):
    own = {"concept": text, "prompt": f"a {{}} {text}", "avoid": [{"text": text}]}
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate(own)
    told = {error["loc"][0]: error["msg"] for error in refused.value.errors()}
    words = f"has a character that cannot be seen: {UNSEEN[text]}"
    assert told == {"concept": words, "prompt": words, "avoid": words}


def test_a_percentile_is_so_many_bits_of_surprise():
    assert AcceptedRarity(percentile=99.9).target_bits == pytest.approx(log2(1000))
    assert AcceptedRarity(bits=7.0).target_bits == 7.0


def test_a_stored_request_of_before_there_were_weights_strength_and_variety_has_the_usual_ones():
    stored = {"avoid": [{"text": "red"}], "toward": [{"output": "0" * 32 + "/0"}], "image": {"upload": "0" * 32}}
    request = AcceptedRequest.model_validate({"concept": "cup", "seed": 1, "run_within": 9, "expires_in": 9} | stored)
    asked = JobRequest.model_validate({"concept": "cup"} | stored).accepted(seed=1)
    for one in (request, asked):
        assert [direction.weight for direction in one.avoid + one.toward] == [1, 1]
        assert (one.image.strength, one.variety) == (0.5, 0)


def test_a_direction_of_weight_0_is_as_if_it_were_not_named():
    none = {"text": "red", "weight": 0}
    JobRequest.model_validate({"concept": "cup", "avoid": [none, none], "toward": [{"text": "red"}]})
    JobRequest.model_validate({"concept": "cup", "mode": "paper", "toward": [none]})
