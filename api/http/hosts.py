"""Whom requests are meant for: a page of another site that has its own name lead here reads nothing (DNS rebinding)."""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems.errors import answer, misdirected
from services.settings import Settings

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_BY_ADDRESS = {"/health/live", "/health/ready", "/metrics"}  # kubelet and Prometheus know a pod's address, no name
_HOST = re.compile(r"(?:\[(?P<literal>.*)\]|(?P<name>[^:]*))(?::\d*)?")


class ServedHosts:
    """Answers 421 to what is sent to another host than the public URL's, loopback and RAREBIT_HOSTS, on any port.

    Probes and metrics are answered at every IP address, too, and without a `Host`: no page can have either for its own.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        public = urlsplit(settings.public_url).hostname or ""
        self._hosts = _LOOPBACK | {public, *map(str.lower, settings.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            host = _host(scope)
            by_address = scope["path"] in _BY_ADDRESS and (not host or _is_address(host))
            if host not in self._hosts and not by_address:
                app = answer(misdirected(host))
        await app(scope, receive, send)


def _host(scope: Scope) -> str:
    """The name or address in `Host`, without port and brackets; as it came where it is neither."""
    text = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    found = _HOST.fullmatch(text)
    return (found["literal"] or found["name"] or "") if found else text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
