"""A receiver of webhooks: a real HTTP server on loopback that remembers what it got and answers as it is told."""

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Thread
from typing import Any

# pragma: allowlist nextline secret
SECRET = "whsec_bm90IGEgc2VjcmV0LCBkcmF3biBmb3IgdGVzdHM="


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: str
    at: float

    @property
    def payload(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver:
    """`replies` are the next answers, a status and headers each; 204 when none is left. Each takes `hold_s`."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}/hook"
        self.got: list[Received] = []
        self.replies: deque[tuple[int, dict[str, str]]] = deque()
        self.hold_s = 0.0

    def reply(self, *statuses: int, **headers: str) -> None:
        self.replies.extend((status, headers) for status in statuses)

    @property
    def ids(self) -> list[str]:
        return [received.headers["webhook-id"] for received in self.got]

    @property
    def types(self) -> list[str]:
        return [received.payload["type"] for received in self.got]


@contextmanager
def receiving(tls: SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Received(self.path, headers, body, time.monotonic()))
            time.sleep(receiver.hold_s)
            status, extra = receiver.replies.popleft() if receiver.replies else (204, {})
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler, tls) as port:
        receiver = Receiver("https" if tls else "http", port)
        yield receiver


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], tls: SSLContext | None = None) -> Iterator[int]:
    """A real HTTP server on loopback; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
