"""What tests do in the studio, and what they see there."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from deploy.clients.npm import install
from tests.studio.check import LINT

STEP = re.compile(r"(\d+) of 1000")
BAR = "() => [document.querySelector('#run h2').textContent, document.querySelector('#run progress').value]"
FORM = """() => [document.querySelector("#concept").value, document.querySelector("#bits").value,
  [...document.querySelectorAll("#toward-list li span, #start-list li")].map((chip) => chip.textContent)]"""
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text()


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
    expect(page.locator(".detail")).to_have_text(STEP)
    return int(STEP.search(page.locator(".detail").inner_text())[1])


def record(page: Page) -> Callable[[], list[tuple[str, float]]]:
    """Watch the headline and the bar from now on; what is returned answers with all that they have said."""
    page.evaluate(f"window.said = []; setInterval(() => said.push(({BAR})()), 20)")
    return lambda: page.evaluate("said")


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


def running(page: Page, finished: dict, trials: int = 2) -> dict:
    """Open the job as it was on its way, its trials all in one place; what the page reads of it then may be changed."""
    trial = {"bits": 10, "validity": 0.9, "x": 0, "y": 1, "state": "moving"}
    progress = {"phase": "optimize", "step": 1, "steps": 50, "rarity_bits": 10, "trials": [trial] * trials}
    pictures = {"step": 1, "pictures": [preview(0, 5, "red"), preview(1, 4, "blue")]}
    before = {"status": "running", "finished_at": None, "outputs": [], "warnings": []}
    job = answer(page, finished | before, events(progress=progress, preview=pictures))
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator(".rare .preview")).to_have_count(min(2, trials))
    return job


def preview(trial: int, bits: float, colour: str) -> dict:
    file = BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "png")
    url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    return {"trial": trial, "bits": bits, "validity": None, "url": url}


def boxes(page: Page, selector: str) -> list[dict]:
    return page.eval_on_selector_all(selector, "all => all.map((one) => one.getBoundingClientRect().toJSON())")


def faults(page: Page) -> list:
    """What axe-core finds wrong, and the words that do not stand out, in drawings as well, which it leaves out."""
    if not page.evaluate("'axe' in window"):
        install(LINT)
        page.evaluate((LINT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    violations = page.evaluate("axe.run().then(({ violations }) => violations)")
    found = [(rule["id"], node["target"]) for rule in violations for node in rule["nodes"]]
    return found + page.evaluate(CONTRASTS)


def meeting(boxes: list[dict]) -> list[tuple[dict, dict]]:
    """Those that overlap."""
    return [(a, b) for a, b in combinations(boxes, 2) if overlap(a, b, "x", "width") and overlap(a, b, "y", "height")]


def overlap(one: dict, other: dict, side: str, length: str) -> bool:
    return one[side] < other[side] + other[length] and other[side] < one[side] + one[length]


def picture(page: Page, number: int) -> Locator:
    return page.get_by_role("link", name=re.compile(f"^handbag, image {number}"))


def drag(page: Page, source: Locator, target: Locator) -> None:
    source.hover()
    page.mouse.down()
    page.mouse.move(10, 10)
    target.hover()
    target.hover()  # the first move enters it, the second is over it
    expect(target).to_have_class(re.compile("over"))
    page.mouse.up()


def turn(page: Page) -> None:
    """Drag the ring of the map."""
    page.locator(".knob circle:not(.grip)").hover()
    page.mouse.down()
    page.mouse.move(0, 0, steps=3)
    page.mouse.up()
