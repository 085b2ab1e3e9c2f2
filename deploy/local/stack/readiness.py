"""How each process shows that it is ready: it accepts, it answers, or it says so."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deploy.local.stack.child import StackError

_TICK_S = 0.05


def wait_until(ready: Callable[[], bool], check: Callable[[], None], limit_s: float) -> None:
    """Return once `ready`; raise what `check` raises meanwhile, or StackError after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not ready():
        check()
        if time.monotonic() > deadline:
            raise StackError(f"the service was not ready after {limit_s:.0f} s")
        time.sleep(_TICK_S)


def pings(path: Path) -> bool:
    """Whether a Redis-like server on the Unix socket `path` has loaded its data and serves commands."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def answers(url: str) -> bool:
    """Whether a GET of `url` succeeds; StackError for a refusal, unless Redis is away: waiting mends no other."""
    try:
        answer = httpx.get(url, timeout=1.0, trust_env=False)
    except httpx.TransportError:
        return False
    problem = {} if answer.is_success else answer.json()
    if problem and problem["type"] != "/problems/unavailable":
        raise StackError(f"the gateway is not ready: {problem.get('detail', problem['title'])}")
    return answer.is_success


@contextmanager
def notify_socket(path: Path) -> Iterator[Callable[[], bool]]:
    """Where a process may say READY=1 (systemd's sd_notify protocol); yields whether it has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.setblocking(False)

        def said_ready() -> bool:
            try:
                return b"READY=1" in server.recv(4096)
            except BlockingIOError:
                return False

        yield said_ready
