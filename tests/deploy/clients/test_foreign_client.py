"""A client that another project's tool makes of the served contract does what the contract says."""

import subprocess
import sys
from importlib import import_module
from io import BytesIO

import httpx
import pytest
from PIL import Image

from services.pictures.pixels import MEDIA_TYPES

LOST = "Endpoint will not be generated"


@pytest.fixture(scope="session")
def generated(service, tmp_path_factory):
    """The package `foreign`, by openapi-python-client, of what the gateway serves."""
    folder = tmp_path_factory.mktemp("generated")
    served = httpx.get(f"{service.url}/openapi.json", trust_env=False).raise_for_status()
    (folder / "openapi.json").write_bytes(served.content)
    (folder / "config.yaml").write_text("post_hooks: []")
    command = f"generate --path openapi.json --config config.yaml --output-path {folder}/foreign --meta none".split()
    program = [sys.executable, "-m", "openapi_python_client", *command]
    ended = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert (ended.returncode, LOST in ended.stdout) == (0, False), ended.stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield lambda name: import_module(f"foreign.{name}")


@pytest.fixture
def client(generated, service):
    with generated("client").Client(service.url) as client:
        yield client


def run(generated, client, **fields):
    """The job of these fields, as the generated client sends it without a word more, when it has ended."""
    request = generated("models").JobRequest(concept="chair", steps=1, **fields)
    job = generated("api.jobs.jobs_submit").sync(client=client, body=request)
    return generated("api.jobs.jobs_read").sync(job.id, client=client, wait=20)


def test_generated_client_runs_a_job(generated, client):
    job = run(generated, client, count=2)
    assert (job.status, len(job.outputs)) == ("succeeded", 2)
    assert httpx.get(job.outputs[0].url, trust_env=False).raise_for_status().content


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_generated_client_uploads_a_picture_to_start_from(generated, client, media_type):
    file = BytesIO()
    Image.new("RGB", (48, 32), "teal").save(file, media_type.removeprefix("image/"))
    picture = generated("types").File(payload=BytesIO(file.getvalue()))
    upload = generated("api.images.images_upload").sync(client=client, body=picture)
    assert (upload.width, upload.height) == (48, 32)
    job = run(generated, client, image=generated("models").PictureRef(upload=upload.id))
    assert job.request.image.upload == upload.id
