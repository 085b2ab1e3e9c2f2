"""As much of the hub as its client asks for: a model's files, their hashes, and their bytes from any place on."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Hub:
    """Serves the folders of `root` as repositories of `owner`, each with the one commit that is made of its files.

    `breaks` has paths whose connection ends after so many bytes, and which are then away until they are taken out.
    `asked` has what was asked for: path and Range.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self.root, self.owner = root, owner
        self.breaks: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def commit(self, name: str) -> str:
        """40 hexadecimal digits that change with any file."""
        return hashlib.sha1(json.dumps(self.files(name)).encode()).hexdigest()

    def files(self, name: str) -> list[dict[str, object]]:
        paths = sorted(path for path in (self.root / name).rglob("*") if path.is_file())
        return [self.described(path, path.relative_to(self.root / name).as_posix()) for path in paths]

    def described(self, path: Path, name: str) -> dict[str, object]:
        data = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
        facts: dict[str, object] = {"type": "file", "rfilename": name, "path": name, "size": len(data)}
        facts |= {"blobId": blob, "oid": blob}
        if path.suffix in {".bin", ".safetensors"}:
            digest = hashlib.sha256(data).hexdigest()
            facts["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
        return facts

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append((path, request.headers.get("Range")))
        match path.strip("/").split("/"):
            case ["api", "models", self.owner, name, *rest] if (self.root / name).is_dir():
                files, commit = self.files(name), self.commit(name)
                if rest[1:] and rest[1] not in {"main", "v1", commit}:
                    self.send(request, b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
                    return
                info = {"id": f"{self.owner}/{name}", "sha": commit, "siblings": files, "tags": []}
                self.send(request, json.dumps(files if rest[:1] == ["tree"] else info).encode(), 200, {})
            case [self.owner, name, "resolve", _, *rest] if rest[-1].endswith(".safetensors"):
                away = {"Location": f"{self.url}/away/{name}/{'/'.join(rest)}", "X-Linked-Size": "0"}
                self.send(request, b"", 302, away | self.marks(name, rest))
            case [self.owner, name, "resolve", _, *rest] | ["away", name, *rest]:
                self.send_file(request, name, rest)
            case _:
                self.send(request, b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def marks(self, name: str, path: list[str]) -> dict[str, str]:
        facts = self.described(self.root.joinpath(name, *path), "")
        tag = facts["lfs"]["sha256"] if "lfs" in facts else facts["oid"]  # type: ignore[index]
        size = str(facts["size"])
        return {"X-Repo-Commit": self.commit(name), "ETag": f'"{tag}"', "X-Linked-Etag": f'"{tag}"'} | (
            {"X-Linked-Size": size}
        )

    def send_file(self, request: BaseHTTPRequestHandler, name: str, path: list[str]) -> None:
        data, marks = self.root.joinpath(name, *path).read_bytes(), self.marks(name, path)
        begin = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        place = "/".join(path)
        if self.breaks.get(place) == 0:
            self.send(request, b"", 503, {})
            return
        limit = self.breaks.get(place, len(data))
        if begin:
            marks |= {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
        self.send(request, data[begin:], 206 if begin else 200, marks, limit)
        if place in self.breaks:
            self.breaks[place] = 0

    def send(
        self, request: BaseHTTPRequestHandler, data: bytes, status: int, headers: dict[str, str], limit: int = 2**40
    ) -> None:
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data[:limit])


@contextmanager
def serving(root: Path, owner: str) -> Iterator[Hub]:
    """A hub on a port of loopback."""
    hub = Hub(root, owner)
    threading.Thread(target=hub.server.serve_forever, daemon=True).start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
