"""What tests do in the studio, and what they see there."""

import json
import re
from base64 import b64encode
from io import BytesIO

from PIL import Image
from playwright.sync_api import Page, expect


def ask(page: Page, mode: str = "paper", **fields: str) -> None:
    """Fill the form, with settings under which a job takes seconds, and send it by Enter."""
    page.locator("#more").evaluate("details => { details.open = true }")
    page.locator("#mode").select_option(mode)
    for name, value in ({"concept": "handbag", "count": "1", "steps": "1"} | fields).items():
        page.locator(f"#{name}").fill(value)
    page.locator("#concept").press("Enter")


def state(page: Page):
    return page.locator("#run h2")


def step(page: Page) -> int:
    """Of how many the panel says that the trials have made."""
    expect(page.locator(".detail")).to_have_text(re.compile(r"^\d+ of 1000"))
    return int(page.locator(".detail").inner_text().split()[0])


def job_of(page: Page) -> str:
    page.wait_for_url(re.compile("#/jobs/"))
    return page.url.rpartition("/")[2]


def loaded(page: Page, selector: str) -> bool:
    return page.eval_on_selector_all(selector, "images => images.every((image) => image.naturalWidth > 0)")


def answer(page: Page, job: dict, *streams: str) -> dict:
    """Let the page read `job`, which a test may change, and follow these streams of events, each once and in turn."""
    left = list(streams)
    page.route(f"**/jobs/{job['id']}", lambda route: route.fulfill(json=job))
    page.route(f"**/jobs/{job['id']}/events?*", lambda route: route.fulfill(**stream(left)))
    return job


def stream(left: list[str]) -> dict:
    return {"content_type": "text/event-stream", "body": left.pop(0)} if left else {"status": 204}


def events(**data: object) -> str:
    """Server-sent events, one of each kind."""
    return "".join(f"event: {kind}\ndata: {json.dumps(of_it)}\n\n" for kind, of_it in data.items())


def preview(trial: int, bits: float, colour: str) -> dict:
    file = BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "png")
    url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    return {"trial": trial, "bits": bits, "validity": None, "url": url}


def boxes(page: Page, selector: str) -> list[dict]:
    return [place.bounding_box() for place in page.locator(selector).all()]
