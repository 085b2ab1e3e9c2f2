"""What every answer says to browsers: what a page may load, and that nothing else may be done with anything."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.objects.storage import open_storage
from services.settings import Settings

Headers = Sequence[tuple[bytes, bytes]]  # as ASGI has them, names in lower case

_HSTS = "max-age=31536000"
_NO_SENSORS = ", ".join(f"{name}=()" for name in ("camera", "display-capture", "geolocation", "microphone", "usb"))


class SecurityHeaders:
    """Adds the headers that an answer does not have itself; a page's are others than data's."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        everywhere = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        if settings.public_url.startswith("https:"):
            everywhere["Strict-Transport-Security"] = _HSTS
        self._of_data = _raw(everywhere | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"})
        self._of_pages = _raw(
            everywhere
            | {
                "Content-Security-Policy": page_policy(picture_origin(settings)),
                "Cross-Origin-Opener-Policy": "same-origin",
                "Permissions-Policy": _NO_SENSORS,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add_headers(message: Message) -> None:
            # what a browser has keeps the headers that it came with: a 304 would put data's in place of a page's
            if message["type"] == "http.response.start" and message["status"] != 304:
                own = dict(message["headers"])
                is_page = own.get(b"content-type", b"").startswith(b"text/html")
                ours = self._of_pages if is_page else self._of_data
                message["headers"] = [*message["headers"], *(header for header in ours if header[0] not in own)]
            await send(message)

        await self._app(scope, receive, add_headers if scope["type"] == "http" else send)


def _raw(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def page_policy(pictures: str) -> str:
    """The content policy of a page: its own files, no inline script or style, and pictures from `pictures` too."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob: {pictures}",
            f"connect-src 'self' {pictures}",
            "font-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def picture_origin(settings: Settings) -> str:
    """The origin that signed URLs lead to: the bucket's, or where the public reaches the gateway."""
    url = urlsplit(open_storage(settings).signed_url("any", datetime.now(UTC), 1))
    return f"{url.scheme}://{url.netloc}"
