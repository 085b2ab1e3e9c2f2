"""The pages, as a browser without a network shows them."""

import os
import re
import shutil
import subprocess

import httpx
import pytest
from fastapi.responses import HTMLResponse

from api.pages import framed
from servers import served


def shown(url, folder):
    """The page as Chromium builds it, and what it says in its console."""
    chromium = shutil.which("chromium")
    if chromium is None and not os.environ.get("CI"):
        pytest.skip("there is no chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--no-proxy-server"]
    lonely = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder}"]
    command = [chromium, *options, *lonely, "--virtual-time-budget=20000", "--dump-dom", url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout, re.findall(r".*CONSOLE.*", ended.stderr)


def test_reference_shows_every_operation_without_a_network_and_within_its_policy(app, tmp_path):
    with served(app) as url:
        document, said = shown(f"{url}/docs", tmp_path)
        paths = httpx.get(f"{url}/openapi.json", trust_env=False).json()["paths"]
    assert len(re.findall(r'class="opblock opblock-(?:get|put|post|delete)"', document)) == sum(
        map(len, paths.values())
    )
    assert said == []


def test_browser_tells_of_what_the_policy_forbids(app, tmp_path):
    """The test above would hear of it."""

    @app.get("/inline")
    def inline() -> HTMLResponse:
        return framed("Inline", "<script>document.body.textContent = 'it ran'</script>")

    with served(app) as url:
        document, said = shown(f"{url}/inline", tmp_path)
    assert "it ran</" not in document
    assert "Content Security Policy" in said[0]


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/expired"])
async def test_page_names_files_and_pages_that_are_there(gateway, path):
    page = (await gateway.get(path)).text
    links = {link for link in re.findall(r'(?:href|src)="([^"#]+)', page) if link.startswith("/")}
    assert "/static/page.css" in links
    for link in links:
        assert (await gateway.get(link)).status_code == 200


async def test_page_has_no_script_or_style_of_its_own(gateway):
    for path in ("/docs", "/problems", "/problems/expired"):
        assert not re.search(r"<style|<script>| style=| on\w+=", (await gateway.get(path)).text)
