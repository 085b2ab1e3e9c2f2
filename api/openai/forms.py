"""Forms as OpenAI's SDKs write them: objects and lists by brackets in their fields' names."""

from collections.abc import Iterable
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from api.http.body import check_media_type

FIELDS = 100
FIELD_BYTES = 16 * 1024
DEPTH = 4  # of `webhook[events][]`, the deepest that a request has, and one more to be refused by name
FORM_BYTES = 64 * 1024  # beside its file


async def read_form(request: Request, file: str) -> tuple[dict[str, Any], bytes]:
    """The form's document, whose values are texts, and the bytes of the field `file`, the only file in it.

    415 for another type of body, 400 for what is no form; RequestValidationError names a field.
    """
    check_media_type(request, "multipart/form-data")
    async with request.form(max_files=1, max_fields=FIELDS, max_part_size=FIELD_BYTES) as form:
        document = nested(form.multi_items())
        picture = document.pop(file, None)
        if not isinstance(picture, UploadFile):
            raise _refusal(file, "is missing" if picture is None else "has to be a file")
        return document, await picture.read()


def nested(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The document of a form: `rarity[bits]` is a field of an object, `space[]` and `avoid[][text]` items of lists.

    RequestValidationError names a field that comes twice, or once as a text and once as an object.
    """
    document: dict[str, Any] = {}
    for name, value in fields:
        path = name.replace("]", "").split("[")[:DEPTH]
        try:
            _put(document, path, value)
        except (AttributeError, TypeError):
            raise _refusal(path[0], "comes more than once, as different things") from None
    return document


def _put(place: dict[str, Any], path: list[str], value: Any) -> None:
    name, *rest = path
    if not rest:
        if name in place:
            raise _refusal(name, "is there more than once")
        place[name] = value
    elif rest[0]:
        _put(place.setdefault(name, {}), rest, value)
    else:
        place.setdefault(name, []).append(_item(rest[1:], value))


def _item(path: list[str], value: Any) -> Any:
    if not path:
        return value
    item: dict[str, Any] = {}
    _put(item, path, value)
    return item


def _refusal(name: str, detail: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", name), "msg": detail}])
