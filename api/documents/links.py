"""Where clients go from here, also where a proxy has the gateway behind a path of its own."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.objects.storage import Storage


@dataclass(frozen=True)
class Links:
    """`prefix` is the path of the public URL, `url_ttl_s` how long a picture's URL lasts at most."""

    prefix: str
    storage: Storage
    url_ttl_s: int

    def to(self, path: str) -> str:
        """A path of the gateway's as the public has it."""
        return self.prefix + path

    def expiry(self, erased_at: datetime | None) -> datetime:
        """When a picture's URL of now ends: with it, if it has an end, or in `url_ttl_s` at most, at the same time for
        half as long."""
        half_s = self.url_ttl_s / 2
        rounded = (time.time() // half_s + 2) * half_s
        at = datetime.fromtimestamp(int(rounded), UTC)
        return at if erased_at is None else min(at, erased_at.replace(microsecond=0))

    def picture(self, key: str, expires_at: datetime, saved_as: str = "") -> str:
        """The URL of the stored picture until then; one by which a browser saves it, where it is given a name."""
        return self.storage.signed_url(key, expires_at, self.url_ttl_s, saved_as)


class BehindPrefix:
    """Takes the prefix from the paths of requests, where the proxy has not done so."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, path = self._app, scope.get("path", "")
        if path == self._prefix:
            app = RedirectResponse(f"{path}/")  # a page's own links are relative
        elif path.startswith(f"{self._prefix}/"):
            scope = {**scope, "path": path.removeprefix(self._prefix)}
        await app(scope, receive, send)
