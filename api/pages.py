"""Pages for people: Markdown in one frame, with one style and without a script."""

import html
from functools import cache
from string import Template

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
<link rel="stylesheet" href="/static/page.css">
<link rel="icon" href="data:,">
$head</head>
<body>
<nav>
<b>Rarebit</b>
<a href="/">Studio</a>
<a href="/guide">Guide</a>
<a href="/docs">Reference</a>
<a href="/problems">Problems</a>
</nav>
$body
</body>
</html>
""")


def page(title: str, markdown: str) -> HTMLResponse:
    """The page of the Markdown text, in which HTML is only text."""
    return framed(title, f"<main>\n{_rendered(markdown)}</main>")


@cache
def _rendered(markdown: str) -> str:
    """The text as HTML; there are as many texts as pages, and rendering one takes up to 30 ms."""
    rendered: str = _MARKDOWN.render(markdown)
    return rendered


def framed(title: str, body: str, head: str = "") -> HTMLResponse:
    """The page of a piece of HTML."""
    content = _FRAME.substitute(title=html.escape(title), body=body, head=head)
    return HTMLResponse(content, headers={"Cache-Control": "no-cache"})
