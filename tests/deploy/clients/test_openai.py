"""OpenAI's own clients, for Python and for JavaScript, get rare pictures by another base_url."""

import os
import subprocess
import threading
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from api.app import create_app
from deploy.clients.npm import install
from rarebit_client import Client
from servers import eventually, served
from services.jobs.record import JobError, Metrics
from services.jobs.store import connect
from services.tenants import Limits, Tenants

JAVASCRIPT = Path(__file__).with_name("openai_js")
SLOW = {"steps": 40, "metadata": {"step_s": "0.05"}}  # two seconds of the stand-in's
LIMIT_S = 60
ANY = "none"  # where no key is asked for, and OpenAI's clients do not start without one
deprecated = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI has ended its own variations


def client_of(url, **options):
    return OpenAI(base_url=f"{url}/v1", **{"api_key": ANY, "max_retries": 0} | options)


def picture(kind="png"):
    file = BytesIO()
    Image.new("RGB", (48, 32), "teal").save(file, kind)
    return file.getvalue()


@pytest.fixture
def client(service):
    with client_of(service.url) as client:
        yield client


@pytest.fixture
def rarebit(service):
    with Client(service.url) as client:
        yield client


@pytest.fixture
def hasty(settings):
    """The URL of a gateway without a worker, which waits for a second."""
    with served(create_app(settings.model_copy(update={"wait_limit_s": 1}))) as url:
        yield url


@pytest.fixture(scope="session")
def javascript():
    install(JAVASCRIPT)
    return str(JAVASCRIPT / "laws.mjs")


def test_client_for_javascript(service, node, javascript):
    env = os.environ | {"RAREBIT_URL": service.url, "PICTURE": b64encode(picture()).decode()}
    run = subprocess.run([node, javascript], env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert run.returncode == 0, run.stdout


def test_images_come_with_their_figures_and_are_those_of_an_ordinary_job(client, rarebit):
    extra = {"rarity": {"bits": 12}, "seed": 7, "steps": 3, "avoid": [{"text": "red"}], "metadata": {"order": "17"}}
    made = client.images.generate(prompt="tea cup", n=2, size="768x512", user="user-7", extra_body=extra)
    job = rarebit.get(made.id)
    assert [(image.seed, image.bits, image.validity) for image in made.data] == [(7, 10.0, 0.9), (8, 10.0, 0.9)]
    assert (made.created, made.size, made.output_format) == (int(job.finished_at.timestamp()), "64x64", "png")
    assert made.data[0].revised_prompt == "Professional high-quality photo of a tea cup. photorealistic, 4k, HQ."
    assert [httpx.get(image.url).content for image in made.data] == [image.content for image in rarebit.images(job)]
    asked = {name: job.request[name] for name in ("concept", "count", "seed", "steps")}
    assert asked == {"concept": "tea cup", "count": 2, "seed": 7, "steps": 3}
    assert (job.request["rarity"]["bits"], job.request["avoid"][0]["text"]) == (12, "red")
    assert (job.request["size"], job.metadata) == ({"width": 768, "height": 512}, {"order": "17", "user": "user-7"})


def test_images_in_the_answer_are_those_behind_urls(client):
    def make(**options):
        (image,) = client.images.generate(prompt="chair", output_format="webp", extra_body={"seed": 9}, **options).data
        return image

    inline = make(response_format="b64_json")
    assert (inline.url, Image.open(BytesIO(b64decode(inline.b64_json))).format) == (None, "WEBP")
    assert b64decode(inline.b64_json) == httpx.get(make().url).content


def test_concept_stands_where_the_prompt_has_its_place(client, rarebit):
    made = client.images.generate(prompt="a child's drawing of a {}", extra_body={"concept": "house", "steps": 1})
    request = rarebit.get(made.id).request
    assert (request["concept"], request["prompt"]) == ("house", "a child's drawing of a {}")
    assert made.data[0].revised_prompt == "a child's drawing of a house"


@pytest.mark.parametrize(
    ("param", "options"),
    [
        ("prompt", {"prompt": "x" * 201}),
        ("prompt", {"prompt": "a drawing", "extra_body": {"concept": "house"}}),
        ("concept", {"prompt": "a drawing of a {}"}),
        ("model", {"model": "dall-e-3"}),
        ("n", {"n": 17}),
        ("size", {"size": "512"}),
        ("size.width", {"size": "1000x1024"}),
        ("size.height", {"size": "512x1792"}),
        ("quality", {"quality": "hd"}),
        ("background", {"background": "transparent"}),
        ("style", {"style": "vivid"}),
        ("stream", {"stream": True}),
        ("partial_images", {"extra_body": {"partial_images": 2}}),
        ("output_format", {"output_format": "gif"}),
        ("rarity.bits", {"extra_body": {"rarity": {"bits": 31}}}),
        ("trials", {"n": 4, "extra_body": {"trials": 3}}),
        ("avoid.0.output", {"extra_body": {"avoid": [{"output": "0" * 32 + "/0"}]}}),
        ("count", {"extra_body": {"count": 2}}),
        ("rariti", {"extra_body": {"rariti": {"bits": 2}}}),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(client, param, options):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**{"prompt": "chair"} | options)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert caught.value.code == "invalid_request"
    assert caught.value.body["message"].startswith(param)


@deprecated
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_variations_start_from_the_picture(client, rarebit, kind):
    extra = {"prompt": "cup", "rarity": {"bits": 6}, "steps": 1, "toward": [{"text": "green"}, {"text": "blue"}]}
    made = client.images.create_variation(image=picture(kind), n=2, size="256x256", extra_body=extra)
    request = rarebit.get(made.id).request
    assert (len(made.data), request["concept"], request["size"], request["rarity"]["bits"]) == (2, "cup", 256, 6)
    assert [direction["text"] for direction in request["toward"]] == ["green", "blue"]
    rarebit.delete_upload(request["image"]["upload"])


@deprecated
@pytest.mark.parametrize(
    ("param", "code", "options"),
    [
        (None, "picture", {"image": b"no picture"}),
        ("n", "invalid_request", {"n": 17}),
        ("rarity.bits", "invalid_request", {"extra_body": {"rarity": {"bits": "many"}}}),
        ("mask", "invalid_request", {"extra_body": {"mask": "x"}}),
    ],
)
def test_variations_that_cannot_be_are_refused_by_name(client, param, code, options):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.create_variation(**{"image": picture()} | options)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_models_are_those_that_can_be_asked_for(client):
    assert [model.id for model in client.models.list()] == [client.models.retrieve("rarebit").id] == ["rarebit"]
    with pytest.raises(openai.NotFoundError, match="there is no model dall-e-3; there are rarebit"):
        client.models.retrieve("dall-e-3")


def test_client_that_leaves_cancels_its_job(client, rarebit):
    with pytest.raises(openai.APITimeoutError):
        client.images.generate(prompt="left chair", extra_body=SLOW, timeout=0.5)
    job = next(rarebit.jobs())
    assert (job.concept, rarebit.wait(job.id).status) == ("left chair", "canceled")


def test_client_with_a_key_that_leaves_comes_again_for_the_same_job(client, rarebit):
    asked = {"prompt": "kept chair", "extra_body": SLOW, "extra_headers": {"Idempotency-Key": "order-17"}}
    with pytest.raises(openai.APITimeoutError):
        client.images.generate(**asked, timeout=0.5)
    job = next(rarebit.jobs())
    again = client.images.with_raw_response.generate(**asked)
    assert (again.parse().id, again.headers["idempotency-replayed"]) == (job.id, "true")


@pytest.mark.parametrize(("headers", "sent"), [({}, 1), ({"Idempotency-Key": "order-18"}, 2)])
def test_job_that_takes_longer_than_is_waited_goes_on_and_is_named(hasty, headers, sent):
    """A client sends its request again only where that makes no second job."""
    with client_of(hasty, max_retries=1) as client, Client(hasty) as rarebit:
        with pytest.raises(openai.InternalServerError, match="goes on") as caught:
            client.images.generate(prompt="chair", extra_headers=headers)
        (job,) = rarebit.jobs()
        assert (caught.value.status_code, caught.value.code, caught.value.body["job"]) == (504, "timeout", job.id)
        assert caught.value.response.request.headers["x-stainless-retry-count"] == str(sent - 1)
        assert rarebit.get(job.id).status == "queued"
    counted, route = httpx.get(f"{hasty}/metrics").text, 'method="POST",route="/v1/images/generations"'
    assert f'rarebit_http_requests_total{{{route},status="504"}} {float(sent)}' in counted
    assert f"rarebit_http_request_seconds_count{{{route}}}" not in counted  # how long it took is the job's


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [("unsafe_content", openai.BadRequestError, 400), ("internal", openai.InternalServerError, 500)],
)
def test_job_that_fails_says_why_and_is_not_sent_again(url, leases, code, kind, status):
    def fail():
        claims = []
        assert eventually(lambda: claims.append(leases.claim()) or claims[-1])
        leases.fail(claims[-1], JobError(code=code, title="It failed", detail="as told"), Metrics())

    worker = threading.Thread(target=fail)
    worker.start()
    with client_of(url, max_retries=1) as client, pytest.raises(kind, match="It failed: as told") as caught:
        client.images.generate(prompt="chair")
    worker.join()
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_keys_and_limits_are_told_as_openai_tells_them(settings, redis_url):
    with connect(redis_url) as store:
        tenants = Tenants(store)
        key = tenants.create_key("acme")
        tenants.limit("acme", Limits(rate=1))
    with served(create_app(settings.model_copy(update={"auth": "keys"}))) as url:
        with client_of(url) as stranger, pytest.raises(openai.AuthenticationError) as caught:
            stranger.images.generate(prompt="chair")
        assert caught.value.code == "invalid_api_key"
        with client_of(url, api_key=key) as known:
            known.models.list()
            with pytest.raises(openai.RateLimitError) as limited:
                known.models.list()
    assert (limited.value.code, limited.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert int(limited.value.response.headers["retry-after"]) > 0
