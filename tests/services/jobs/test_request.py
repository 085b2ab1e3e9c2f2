"""What is wrong with a request, in its own words."""

from math import log2

import pytest
from pydantic import ValidationError

from services.jobs.accepted import AcceptedRarity
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


def test_a_percentile_is_so_many_bits_of_surprise():
    assert AcceptedRarity(percentile=99.9).target_bits == pytest.approx(log2(1000))
    assert AcceptedRarity(bits=7.0).target_bits == 7.0
