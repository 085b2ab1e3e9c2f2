"""What is wrong with a request, in its own words."""

import pytest
from pydantic import ValidationError

from services.job_request import JobRequest


def test_prompt_without_a_place_is_told_what_a_place_looks_like():
    with pytest.raises(ValidationError, match=r"has 0 places for the concept, needs one \{\} "):
        JobRequest(concept="cup", prompt="a {concept}")
