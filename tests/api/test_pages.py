"""The pages, as a browser without a network shows them."""

import re
import shutil
import subprocess
from urllib.parse import urldefrag, urljoin

import httpx
import pytest
from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages import framed
from api.routes.pages import GUIDES
from servers import served

PAGES = ["/docs", "/problems", "/problems/expired", "/guide", *(f"/guide/{name}" for name in GUIDES)]


def shown(url, folder):
    """The page as Chromium builds it, and what it says in its console."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium, which .ci/run installs where it can")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--no-proxy-server"]
    lonely = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder}"]
    command = [chromium, *options, *lonely, "--virtual-time-budget=20000", "--dump-dom", url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout, re.findall(r".*CONSOLE.*", ended.stderr)


def test_reference_shows_every_operation_without_a_network_and_within_its_policy(app, tmp_path):
    with served(app) as url:
        document, said = shown(f"{url}/docs", tmp_path)
        contract = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    operations = [*contract["paths"].values(), *contract["webhooks"].values()]
    assert len(re.findall(r'class="opblock opblock-(?:get|put|post|delete)"', document)) == sum(map(len, operations))
    assert said == []


def test_browser_tells_of_what_the_policy_forbids(app, tmp_path):
    """The test above would hear of it."""

    @app.get("/inline")
    def inline(request: Request) -> HTMLResponse:
        return framed(request, "Inline", "<script>document.body.textContent = 'it ran'</script>")

    with served(app) as url:
        document, said = shown(f"{url}/inline", tmp_path)
    assert "it ran</" not in document
    assert "Content Security Policy" in said[0]


@pytest.mark.parametrize("path", PAGES)
async def test_every_link_of_a_page_leads_somewhere(gateway, path):
    page = (await gateway.get(path)).text
    links = [urldefrag(urljoin(path, link)) for link in re.findall(r'(?:href|src)="([^"]+)"', page)]
    assert ("/static/page.css", "") in links
    for link, anchor in links:
        if not link.startswith(("https:", "data:")):
            target = await gateway.get(link)
            assert target.status_code == 200
            assert not anchor or f'id="{anchor}"' in target.text


async def test_page_has_no_script_or_style_of_its_own(gateway):
    for path in PAGES:
        assert not re.search(r"<style|<script>| style=| on\w+=", (await gateway.get(path)).text)


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/studio/index.html"])
async def test_files_of_pages_come_whole_whatever_range_is_asked_for(gateway, path):
    whole = await gateway.get(path)
    for asked in ("bytes=-1,0-,5-2", "bytes=0-1", "bytes=999999999-"):
        answer = await gateway.get(path, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, whole.content)
