"""Pages for people: Markdown in one frame, with one style and without a script."""

import html
from functools import cache
from string import Template

from fastapi import Request
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").use(anchors_plugin, max_level=3)
_FRAME = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title · Rarebit</title>
<link rel="stylesheet" href="${root}static/page.css">
<link rel="icon" href="data:,">
$head</head>
<body>
<nav>
<b>Rarebit</b>
<a href="$root">Studio</a>
<a href="${root}guide">Guide</a>
<a href="${root}docs">Reference</a>
<a href="${root}problems">Problems</a>
</nav>
$body
</body>
</html>
""")


def page(request: Request, title: str, markdown: str) -> HTMLResponse:
    """The page of the Markdown text, in which HTML is only text, and links to / lead to the gateway's root."""
    return framed(request, title, f"<main>\n{_rendered(markdown.replace('](/', f']({_root(request)}'))}</main>")


@cache
def _rendered(markdown: str) -> str:
    """The text as HTML; there are as many texts as pages, and rendering one takes up to 30 ms."""
    rendered: str = _MARKDOWN.render(markdown)
    return rendered


def framed(request: Request, title: str, body: str, head: str = "") -> HTMLResponse:
    """The page of a piece of HTML."""
    content = _FRAME.substitute(root=_root(request), title=html.escape(title), body=body, head=head)
    return HTMLResponse(content, headers={"Cache-Control": "no-cache"})


def _root(request: Request) -> str:
    """The gateway's root as links of the page name it, which know nothing of the proxies before it."""
    return "../" * (request.scope["path"].count("/") - 1) or "./"
