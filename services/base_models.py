"""What every document that a client sends, or that the store keeps, is read with."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from services.errors import UnreadableError

DAMAGE = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
)  # what reading a document raises that is not as it should be
Document = TypeVar("Document")
Read = TypeVar("Read")
logger = logging.getLogger(__name__)


class WireModel(BaseModel):
    """A document of a client's, which takes nothing for something else: no unknown field, no `false` for 0, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Form:
    """Of a text that has one: who sends another hears `words`, as the pattern is for programs."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=self.pattern)
        return core_schema.custom_error_schema(text, "form", custom_error_message=self.words)


class StoredModel(BaseModel):
    """A document in Redis or in the object store, where services of several versions work on the same ones.

    A field that another version wrote is ignored, and a field that some version does not write has a default. Bounds
    are the wire's (`WireModel`). Errors do not show values, which are users'.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


def read_one(kind: str, record_id: str, read: Callable[[Document], Read], document: Document) -> Read:
    """What the document says; one that cannot be read is logged and raises UnreadableError."""
    try:
        return read(document)
    except DAMAGE as error:
        logger.error("what is kept of %s %s cannot be read: %s", kind, record_id, error)
        raise UnreadableError(kind, record_id) from error


def read_each(what: str, read: Callable[[Document], Read], documents: Iterable[Document]) -> list[Read]:
    """What can be read of the documents; the others are logged as `what`, and fail nobody's list."""
    found = []
    for document in documents:
        try:
            found.append(read(document))
        except DAMAGE as error:
            logger.error("%s cannot be read: %s", what, error)
    return found
