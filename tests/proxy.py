"""A TCP proxy before a real server: it may speak TLS to the client, wait before it passes anything on, or cut."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PIECE = 16 * 1024


class Proxy:
    """Listens on `port` of loopback; `delay_s` and `cut_after` (bytes from the client) may be changed at any time."""

    def __init__(self, target: int | Path, tls: ssl.SSLContext | None = None) -> None:
        self.delay_s = 0.0
        self.cut_after: int | None = None
        self.taken = 0
        self._target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        # Either side may be gone, or the client takes no part in our TLS.
        with suppress(OSError), self._wrapped(client) as near, self._connect() as far:
            answers = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            answers.start()
            self._pass_on(near, far, counted=True)
            answers.join()

    def _wrapped(self, client: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(client, server_side=True) if self._tls else client

    def _connect(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target))
        return server

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                time.sleep(self.delay_s)
                self.taken += len(data) if counted else 0
                if self.cut_after is not None and self.taken > self.cut_after:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: int | Path, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy of the server that listens on the port or the Unix socket."""
    proxy = Proxy(target, tls)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
