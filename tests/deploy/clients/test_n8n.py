"""The workflow for n8n as it is imported, in a stand-in for n8n, with real jobs and real webhooks."""

import json
import re
import subprocess
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from rarebit_client import Client

WORKFLOW = json.loads(Path("deploy/clients/n8n/rare-pictures.json").read_text())
N8N = Path(__file__).with_name("n8n.mjs")


@pytest.fixture
def run(service, node):
    """Run the workflow with other settings, and with more in its body; what it asked for, and what came of it."""

    def run(body="", **settings):
        workflow = json.loads(json.dumps(WORKFLOW).replace("count: $json.count", f"count: $json.count{body}"))
        (own,) = (one for one in workflow["nodes"] if one["name"] == "Settings")
        for assignment in own["parameters"]["assignments"]["assignments"]:
            assignment["value"] = ({"url": service.url} | settings).get(assignment["name"], assignment["value"])
        ended = subprocess.run(
            [node, N8N], input=json.dumps(workflow), capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(ended.stdout)

    return run


def test_workflow_ends_with_the_pictures_of_its_job(service, run):
    ended = run(concept='a "tea" cup', count=3)
    posted, read, *fetched = ended["requests"]
    assert ended["error"] is None
    assert (posted["status"], read["status"], [one["status"] for one in fetched]) == (202, 200, [200] * 3)
    with Client(service.url) as client:
        job = client.get(read["url"].rpartition("/")[2])
        images = client.images(job)
    assert (job.concept, job.request["rarity"]["bits"]) == ('a "tea" cup', 10)
    assert [b64decode(item["binary"]["data"]) for item in ended["items"]] == [image.content for image in images]
    assert Image.open(BytesIO(b64decode(ended["items"][0]["binary"]["data"]))).format == "PNG"


def test_its_requests_are_operations_of_the_contract_and_the_key_goes_nowhere_else(service, run):
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    posted, read, *fetched = run()["requests"]
    for one, path in ((posted, "/jobs"), (read, "/jobs/{job_id}")):
        assert re.fullmatch(re.sub(r"{\w+}", "[0-9a-f]{32}", path), urlsplit(one["url"]).path)
        assert str(one["status"]) in paths[path][one["method"].lower()]["responses"]
    assert set(json.loads(posted["body"])) <= set(_fields(service.url))
    assert [one["key"] for one in (posted, read, *fetched)] == [True, True] + [False] * 4


def test_what_the_service_refuses_stops_it(run):
    assert "/rarity/bits" in run(bits=31)["error"]


def test_job_without_pictures_stops_it_with_the_reason(run):
    assert "The job is failed. " in run(", start_within: 1e-6")["error"]


def _fields(url):
    return httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]["JobRequest"]["properties"]
