"""What is wrong with a field, in words that need no knowledge of pydantic."""

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "has to be text",
    "string_too_short": "is empty",  # no text of a request has to be longer than a character
    "string_too_long": "may have {max_length} characters at most",
    "string_unicode": "is not Unicode",
    "too_short": "needs {min_length} at least, has {actual_length}",
    "too_long": "may have {max_length} at most",
    "greater_than_equal": "has to be {ge} or more",
    "less_than_equal": "has to be {le} or less",
    "greater_than": "has to be more than {gt}",
    "less_than": "has to be less than {lt}",
    "multiple_of": "has to be a multiple of {multiple_of}",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "list_type": "has to be a list",
    "dict_type": "has to be an object",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
    "literal_error": "has to be one of {expected}",
    "enum": "has to be one of {expected}",
    "url_type": "has to be a URL",
    "url_parsing": "has to be a URL: {error}",
    "url_scheme": "has to begin with one of {expected_schemes}",
    "url_too_long": "may have {max_length} characters at most",
}


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors, or of ours, which come in words."""
    words = _WORDS.get(error.get("type", ""))
    return str(error["msg"]) if words is None else words.format_map(error.get("ctx", {}))
