"""Pages that explain: the guides, the reference of the API, each kind of problem, and why jobs fail."""

import json
import re
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from api.pages import framed, page
from api.problems.catalogue import FAILURES, PATH, PROBLEMS, Kind
from api.problems.errors import example_of

GUIDES = {  # of docs/
    "api": "The API",
    "webhooks": "Webhooks",
    "tools": "In the tools you use",
    "operating": "Operating the service",
    "kubernetes": "On Kubernetes",
    "proxies": "Behind a proxy",
    "lifetimes": "What is kept, and when it ends",
    "backup": "Backup and restore",
    "scaling": "How far one service goes",
}
_DOCS = Path(__file__).parents[1] / "guide"  # which leads to docs/ in a checkout

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/guide")
@router.get("/guide/{name}")
async def read_guide(request: Request, name: str = "api") -> HTMLResponse:
    """A page of docs/, whose links to others lead to them here."""
    if name not in GUIDES:
        raise HTTPException(404, "there is no guide of this name")
    text = (_DOCS / f"{name}.md").read_text(encoding="utf-8")
    return page(request, GUIDES[name], re.sub(r"\]\(([a-z]+)\.md", r"](/guide/\1", text))


@router.get("/docs")
async def reference(request: Request) -> HTMLResponse:
    """The contract, to read and to try out: Swagger UI, from here and without a script in the page."""
    return framed(request, "Reference", _REFERENCE, _REFERENCE_HEAD)


@router.get(PATH)
async def list_problems(request: Request) -> HTMLResponse:
    """Every kind of problem, and every reason for which a job fails."""
    sections = [_PROBLEMS, *map(_row, PROBLEMS.values()), _FAILURES, *map(_failure, FAILURES)]
    return page(request, "Problems", "\n".join(sections))


@router.get(PATH + "/{name}")
async def read_problem(request: Request, name: str) -> HTMLResponse:
    """What a problem of this kind means, and what to do about it."""
    if name not in PROBLEMS:
        raise HTTPException(404, "there is no problem of this kind")
    kind = PROBLEMS[name]
    return page(request, kind.title, _problem(kind))


_REFERENCE_HEAD = """<link rel="stylesheet" href="static/swagger/swagger-ui.css">
<script src="static/swagger/swagger-ui-bundle.js" defer></script>
<script src="static/reference.js" defer></script>
"""
_REFERENCE = """<div id="reference"></div>
<noscript><main><p>The contract itself is at <a href="openapi.json">/openapi.json</a>.</p></main></noscript>"""

_PROBLEMS = """
# Problems

A request that cannot be answered as asked is answered with `application/problem+json`
([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). Its `type` never changes and leads to one of these pages; decide
by it, and show people its `title` and `detail`.

| type | status | meaning |
|---|---|---|"""

_FAILURES = """
## Why jobs fail

A job that fails says so in its document: `status` is `failed`, and `error.code` is one of these words. The request that
asked for the job was answered well, so these are no problems in the sense above.
"""


def _row(kind: Kind) -> str:
    return f"| [{kind.name}]({kind.type}) | {kind.status} | {kind.title} |"


def _failure(code: str) -> str:
    return f"### {code}\n\n{FAILURES[code].meaning}\n\n{FAILURES[code].remedy}\n"


def _problem(kind: Kind) -> str:
    example = json.dumps(example_of(kind), indent=2, ensure_ascii=False)
    return f"""
# {kind.title}

`{kind.type}` comes with the status **{kind.status} {HTTPStatus(kind.status).phrase}**.

## What it means

{kind.meaning}

## What to do

{kind.remedy}

## An example

```json
{example}
```

[All problems]({PATH})
"""
