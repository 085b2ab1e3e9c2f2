"""Files by RFC 9110: who has one already gets 304, who asks for a part gets it, and HEAD is GET without content."""

import re
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class HeadAsGet:
    """Answers HEAD as GET, without the content; a stream ends there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_content(send)
        await self._app(scope, receive, send)


def _without_content(send: Send) -> Send:
    async def bare(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    return bare


class KnownFile(FileResponse):
    """A file, or 304 for whoever knows its ETag."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, stat_result=path.stat(), **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = Headers(scope=scope).get("if-none-match", "")
        if {self.headers["etag"], "*"} & {tag.strip().removeprefix("W/") for tag in known.split(",")}:
            own = {name: value for name, value in self.headers.items() if not name.startswith("content-")}
            await Response(status_code=304, headers=own)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class WholeFile(KnownFile):
    """All of a file, whatever part is asked for: a server may ignore Range."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(_without_range(scope), receive, send)


class PartialFile(KnownFile):
    """A file, or the one part of it that is asked for; all of it where several are, or none that can be read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, size = Headers(scope=scope), int(self.headers["content-length"])
        state = self.headers["etag"], self.headers["last-modified"]
        first, last = _range(asked.get("range", ""), size) if asked.get("if-range", state[0]) in state else (0, -1)
        if first > last:
            scope = _without_range(scope)
        elif first >= size:
            raise HTTPException(416, f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
        await super().__call__(scope, receive, send)


def _range(text: str, size: int) -> tuple[int, int]:
    """First and last byte of the one range; the last before the first for what is none of a known unit."""
    found = _RANGE.fullmatch(text.replace(" ", ""))
    first, last = found.groups() if found else ("", "")
    if first:
        return int(first), int(last or size + int(first))
    return (max(0, size - int(last)), size) if last else (0, -1)


class Assets(StaticFiles):
    """Files that a browser keeps, and asks each time, by their ETag, whether they have changed; always all of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(_without_range(scope), receive, send)

    def file_response(self, *arguments: Any, **options: Any) -> Any:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _without_range(scope: Scope) -> Scope:
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}
