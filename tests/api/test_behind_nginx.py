"""Behind a real nginx, under a path of its own that it takes away or passes on, everything leads where it should."""

import re
from urllib.parse import urldefrag, urljoin

import httpx
import pytest

from api.app import create_app
from nginx import nginx
from servers import free_port, served
from services.settings import Settings

PAGES = ["", "docs", "guide", "guide/operating", "problems", "problems/expired"]


@pytest.fixture(params=["taken away", "passed on"])
def base(request, settings, tmp_path):
    """The public URL of the gateway, with a slash at its end."""
    port = free_port()
    public = f"http://127.0.0.1:{port}/rarebit"
    with served(create_app(settings.model_copy(update={"public_url": public}))) as url:
        location, upstream = ("/rarebit/", f"{url}/") if request.param == "taken away" else ("/rarebit", url)
        server = nginx(tmp_path, port, upstream, location)
        server.start()
        yield f"{public}/"
        server.stop()


@pytest.fixture
def client(base):
    with httpx.Client(base_url=base, trust_env=False, timeout=20) as client:
        yield client


def test_what_answers_name_is_there(base, client, publish):
    answer = client.post("jobs", json={"concept": "lamp"})
    job = answer.json()
    for link in (answer.headers["location"], job["urls"]["self"]):
        assert client.get(urljoin(base, link)).json()["id"] == job["id"]
    publish()
    [output] = client.get(urljoin(base, job["urls"]["self"])).json()["outputs"]
    assert client.get(output["url"]).content == b"picture 0"
    assert "event: output" in client.get(urljoin(base, job["urls"]["events"])).text
    assert client.post(urljoin(base, job["urls"]["cancel"])).status_code == 200
    batch = client.post("batches", json={"jobs": [{"concept": "lamp"}]})
    for link in (
        batch.headers["location"],
        batch.json()["urls"]["self"],
        batch.json()["items"][0]["job"]["urls"]["self"],
    ):
        assert client.get(urljoin(base, link)).status_code == 200
    fit = client.put("density-models/lamp")
    [listed] = client.get("density-models").json()["density_models"]
    assert urljoin(base, fit.headers["location"]) == urljoin(base, fit.json()["job"]) == urljoin(base, listed["job"])
    assert client.get(urljoin(base, listed["job"])).json()["kind"] == "density_model"


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(base, client, path):
    page = client.get(path).raise_for_status().text
    links = [urldefrag(urljoin(base + path, link))[0] for link in re.findall(r'(?:href|src)="([^"]+)"', page)]
    assert len([link for link in links if link.startswith(base)]) > 3
    for link in set(links):
        assert link.startswith(("https:", "data:", base))
        if link.startswith(base):
            assert client.get(link).status_code == 200


def test_contract_leads_to_the_service(base, client):
    contract = client.get("openapi.json").json()
    [server] = contract["servers"]
    assert client.get(urljoin(base, server["url"]) + "/jobs").json()["jobs"] == []


def test_page_without_its_slash_leads_to_the_page(base, client):
    answer = client.get(base[:-1], follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (200, base)


def test_long_wait_is_answered_before_the_proxy_gives_up(settings, tmp_path):
    port = free_port()
    short = settings.model_copy(update={"public_url": f"http://127.0.0.1:{port}", "wait_limit_s": 1})
    assert Settings.model_fields["wait_limit_s"].default < 60 - 5  # nginx gives up after 60, as it comes
    with served(create_app(short)) as url, httpx.Client(base_url=short.public_url, trust_env=False) as client:
        server = nginx(tmp_path, port, url, directives="proxy_read_timeout 3s;")
        server.start()
        posted = client.post("/jobs", json={"concept": "lamp"}, headers={"prefer": "wait=60"})
        assert (posted.status_code, posted.headers["preference-applied"]) == (202, "wait=1")
        read = client.get(f"/jobs/{posted.json()['id']}?wait=60")
        assert (read.status_code, read.json()["status"]) == (200, "queued")
        server.stop()
