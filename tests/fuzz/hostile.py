"""Hostile requests, as bytes: what no HTTP library would send."""

import json
import random
import re
from collections.abc import Callable
from urllib.parse import quote

from tests.fuzz import words
from tests.fuzz.answers import Attack

Pool = list[str]  # ids of jobs or uploads that exist, or did


def hostile_request(draw: random.Random, jobs: Pool, uploads: Pool) -> Attack:
    """One request: mostly at an operation with something bent, now and then at no operation at all."""
    if draw.random() < 0.1:
        target = draw.choice([*words.TARGETS, "/" + _garbage(draw)])
        return Attack(*_message(draw, draw.choice(words.METHODS), target, "application/json", b""))
    operation = draw.choice(words.WITH_BODY if draw.random() < 0.5 else words.OPERATIONS)
    method, _, template = operation.partition(" ")
    path, aimed = _path(draw, template, uploads if "upload" in template else jobs)
    if draw.random() < (0.9 if "files" in template else 0.2):
        path = f"{path}?{draw.choice(words.QUERIES)}"
    if draw.random() < 0.05:
        method, aimed = draw.choice(words.METHODS), False
    fitting = "image/png" if operation == "POST /images" else "application/json"
    media_type = draw.choice(words.MEDIA_TYPES) if draw.random() < 0.1 else fitting
    request = _message(draw, method, path, media_type, _body(draw, operation, jobs, uploads))
    return Attack(*request, operation if aimed else None)


def _path(draw: random.Random, template: str, pool: Pool) -> tuple[str, bool]:
    """A path for the template, and whether it surely leads there."""
    if "{" not in template:
        return template, True
    if pool and draw.random() < 0.5 and "{key}" not in template:
        return re.sub(r"\{\w+\}", draw.choice(pool[-50:]), template), True
    value = draw.choice([*words.IDS, _garbage(draw), quote(_garbage(draw)), draw.randbytes(16).hex()])
    plain = re.fullmatch(r"[\w-]{1,100}", value, re.ASCII) is not None
    return re.sub(r"\{\w+\}", lambda _: value, template), plain


def _garbage(draw: random.Random) -> str:
    return draw.randbytes(draw.choice([1, 8, 64, 700])).decode("latin-1").replace("\r", "").replace("\n", "")


def _message(draw: random.Random, method: str, target: str, media_type: str, body: bytes) -> tuple[bytes, bool]:
    """The request, whose body's length is told truly, wrongly or not at all; and whether its end can be told."""
    chosen = [draw.choice(words.HEADERS) for _ in range(draw.choice([0, 0, 0, 1, 2]))]
    framing = draw.choice(["told"] * 8 + ["short", "long", "chunked", "chunked", "endless"])
    if framing in {"chunked", "endless"}:
        length, body = b"Transfer-Encoding: chunked", _chunks(draw, body, ends=framing == "chunked")
    else:
        wrong = {"told": 0, "short": -3, "long": 3}[framing]
        length = b"Content-Length: %d" % max(0, len(body) + wrong)
    headers = [b"Host: localhost", f"Content-Type: {media_type}".encode("latin-1"), length, *chosen]
    line = f"{method} {target} HTTP/1.{draw.choice([1, 1, 1, 0])}".encode(draw.choice(["utf-8", "latin-1"]), "replace")
    told = framing in {"told", "chunked"} and not any(word in header for word in words.FRAMING for header in chosen)
    return b"\r\n".join([line, *headers, b"", body]), told


def _chunks(draw: random.Random, body: bytes, *, ends: bool) -> bytes:
    size = draw.choice([7, 1000, 100_000]) if len(body) < 5000 else 10_000
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    last = [b"0\r\n\r\n", b"0\r\nX-Trailer: a\r\n\r\n"] if ends else [b"zz\r\n", b"-1\r\n\r\n", b""]
    return framed + draw.choice(last)


def _body(draw: random.Random, operation: str, jobs: Pool, uploads: Pool) -> bytes:
    if operation == "POST /jobs":
        return draw.choice(_BENDINGS)(draw, _job(draw, jobs, uploads))
    if operation == "POST /exposures/{key}/views":
        return draw.choice(_BENDINGS)(draw, _views(draw, jobs))
    if operation == "POST /images":
        png, webp = b"\x89PNG\r\n\x1a\n" + draw.randbytes(200), b"RIFF\xff\xff\xff\xffWEBP"
        return draw.choice([b"", png, bytes(200_000), webp])
    return draw.choice([b"", b"", b"{}", bytes(99)])


def _views(draw: random.Random, jobs: Pool) -> str:
    judged = ["liked", "disliked", "neutral", "x"]
    return json.dumps({"views": [{"output": f"{_known(draw, jobs)}/0", "feedback": draw.choice(judged)}]})


def _job(draw: random.Random, jobs: Pool, uploads: Pool) -> str:
    known = {"image": {"upload": _known(draw, uploads)}, "toward": [{"output": f"{_known(draw, jobs)}/0"}]}
    fields = draw.sample(list((words.JOB | known).items()), draw.randint(0, 5))
    return json.dumps(dict(fields) | {"concept": "handbag"})


def _known(draw: random.Random, pool: Pool) -> str:
    return draw.choice(pool[-50:]) if pool else "0" * 32


def _as_it_is(_draw: random.Random, document: str) -> bytes:
    return document.encode()


def _other_value(draw: random.Random, document: str) -> bytes:
    """A field of another type or size, maybe one that does not exist, maybe for the second time."""
    value = draw.choice(words.VALUES)
    if draw.random() < 0.2:
        value = f"[{','.join([value] * draw.choice([1, 9, 300]))}]"
    return f'{document[:-1]}, "{draw.choice(words.FIELDS)}": {value}}}'.encode()


def _damaged(draw: random.Random, document: str) -> bytes:
    damaged = bytearray(document.encode())
    for _ in range(draw.randint(1, 4)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    return bytes(damaged[: draw.randint(0, len(damaged))] if draw.random() < 0.3 else damaged)


def _nested(draw: random.Random, document: str) -> bytes:
    depth = draw.choice([50, 1000, 5000, 30_000])
    left, right = draw.choice([("[", "]"), ('{"a":', "}"), ("[[],", "]")])
    return f'{document[:-1]}, "metadata": {left * depth}0{right * draw.choice([0, depth])}}}'.encode()


def _encoded(draw: random.Random, document: str) -> bytes:
    return document.encode(draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"]))


def _too_long(draw: random.Random, document: str) -> bytes:
    return document.encode() + b" " * draw.choice([65_000, 66_000, 300_000])


def _crowded(draw: random.Random, document: str) -> bytes:
    """As many wrong fields as fit into a body."""
    fields = ", ".join(f'"x{number}": 0' for number in range(draw.choice([50, 4000])))
    return f"{document[:-1]}, {fields}}}".encode()


_Bending = Callable[[random.Random, str], bytes]
_BENDINGS: list[_Bending] = [
    *[_as_it_is] * 2,
    *[_other_value] * 6,
    *[_damaged] * 2,
    _nested,
    _encoded,
    _too_long,
    _crowded,
]
