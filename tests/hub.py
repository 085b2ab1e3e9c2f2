"""As much of the hub as its client asks for: a model's files, their hashes, and their bytes from any place on."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

CHUNK = 2**16  # bytes that the client writes at once


class Hub(ThreadingHTTPServer):
    """Serves the folders of `root` as repositories of `owner`, each of one commit, which follows from its files.

    `breaks` has paths whose connection ends after so many bytes, and which are then away until they are taken out;
    `asked` what was asked for, path and Range.
    """

    def __init__(self, root: Path, owner: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.owner = root, owner
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.breaks: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []

    def commit(self, name: str) -> str:
        """40 hexadecimal digits that change with any file."""
        return hashlib.sha1(json.dumps(self.files(name)).encode()).hexdigest()

    def files(self, name: str) -> list[dict[str, Any]]:
        """As both of the client's questions have them."""
        paths = sorted(path for path in (self.root / name).rglob("*") if path.is_file())
        return [described(path, path.relative_to(self.root / name).as_posix()) for path in paths]


def described(path: Path, name: str) -> dict[str, Any]:
    data = path.read_bytes()
    digest, blob = hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
    lfs = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
    facts = {"type": "file", "rfilename": name, "path": name, "size": len(data), "blobId": blob, "oid": blob}
    return facts | ({"lfs": lfs} if path.suffix in {".bin", ".safetensors"} else {})


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((path, self.headers.get("Range")))
        match path.strip("/").split("/"):
            case ["api", "models", self.server.owner, name, *rest] if (self.server.root / name).is_dir():
                self.tell(name, *rest)
            case [self.server.owner, name, "resolve", _, *file] if file[-1].endswith(".safetensors"):
                self.send(
                    302, b"", {"Location": f"{self.server.url}/away/{name}/{'/'.join(file)}"} | self.marks(name, file)
                )
            case [self.server.owner, name, "resolve", _, *file] | ["away", name, *file]:
                self.send_file(name, file)
            case _:
                self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def tell(self, name: str, question: str = "", revision: str = "main", *_: str) -> None:
        """What the repository is, or only its files."""
        files, commit = self.server.files(name), self.server.commit(name)
        if revision not in {"main", "v1", commit}:
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        info = {"id": f"{self.server.owner}/{name}", "sha": commit, "siblings": files, "tags": []}
        self.send(200, json.dumps(files if question == "tree" else info).encode(), {})

    def marks(self, name: str, file: list[str]) -> dict[str, str]:
        facts = described(self.server.root.joinpath(name, *file), "")
        tag, size = facts.get("lfs", facts)["oid"], str(facts["size"])
        marks = {"X-Repo-Commit": self.server.commit(name), "ETag": f'"{tag}"'}
        return marks | {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": size}

    def send_file(self, name: str, file: list[str]) -> None:
        data, place = self.server.root.joinpath(name, *file).read_bytes(), "/".join(file)
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        limit = self.server.breaks.get(place, len(data))
        if limit == 0:
            self.send(503, b"", {})
        else:
            self.send(206 if begin else 200, data[begin:], self.marks(name, file) | part, limit)
            self.server.breaks |= {place: 0} if place in self.server.breaks else {}

    def send(self, status: int, data: bytes, headers: dict[str, str], limit: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:limit])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hub_of(root: Path, cache: Path) -> Iterator[Hub]:
    """A hub in place of the real one, whose owner is `owner`; its client caches in a folder of its own."""
    with Hub(root, "owner") as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()
