"""What the studio's page is to eyes, keyboards, phones and those who come back to it."""

import re

import pytest
from playwright.sync_api import Page, expect

from servers import eventually
from tests.studio.conftest import ENDLESS
from tests.studio.steps import answer, ask, boxes, faults, job_of, meeting, running, state

LIMIT_S = 180
RESULT = ".rare .tile:has(.steering)"
FOCUS_IS_SEEN = """(() => {
  const { outlineStyle, boxShadow } = getComputedStyle(document.activeElement);
  return outlineStyle !== "none" || boxShadow !== "none";
})()"""
STOPS = """stops => stops.map((stop) =>
  ({ offset: Number(stop.getAttribute("offset")), opacity: Number(getComputedStyle(stop).stopOpacity) }))"""
TOO_SMALL = """elements => elements
  .filter((element) => element.checkVisibility() && !element.closest(".unseen, .skip"))
  .map((element) => [element.textContent || element.id, element.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 44 || height < 44)
  .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)"""


@pytest.mark.parametrize("density", [1, 2])
def test_each_pixel_of_a_picture_is_one_of_the_screens_or_less(open_page, finished, density):
    page = open_page(f"/#/jobs/{finished['id']}", device_scale_factor=density, viewport={"width": 1360, "height": 900})
    expect(page.locator(RESULT)).to_have_count(2)
    pixels = finished["outputs"][0]["width"]
    edges = {box[side] for box in boxes(page, ".rare .frame img") for side in ("width", "height")}
    assert edges == {min(256, max(128, pixels / density))}
    page.get_by_role("link", name=re.compile("^handbag, image 1")).click()
    expect(page.locator("#large-picture")).to_have_js_property("width", pixels)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#large")).to_be_hidden()


@pytest.mark.parametrize("kept", ["on disk", "in a bucket"])
def test_save_saves_a_file_and_opens_nothing(open_page, finished, from_bucket, kept):
    page = open_page(from_bucket if kept == "in a bucket" else f"/#/jobs/{finished['id']}")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save: handbag, image 1").click()
    job_id = job_of(page)
    assert re.fullmatch(rf"handbag-{job_id[:8]}-1\.(webp|png)", saved.value.suggested_filename)
    assert saved.value.path().stat().st_size > 0
    assert len(page.context.pages) == 1


def test_problems_stand_at_the_fields_that_they_name(open_page):
    page = open_page()
    ask(page, count="99", seed="late")
    expect(page.locator(".field:has(#count) .problem")).to_have_text("has to be 16 or less")
    expect(page.locator(".field:has(#seed) .problem")).to_have_text("has to be a whole number")
    expect(page.locator("#seed")).to_be_focused()
    expect(page.locator("#ask-problem")).to_be_hidden()


def test_nothing_asked_for_is_said_in_words(open_page):
    page = open_page()
    page.locator("#find").click()
    expect(page.locator(".field:has(#concept) .problem")).to_have_text("is empty")
    expect(page.locator("#concept")).to_be_focused()


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page()
    order = []
    page.keyboard.press("Tab")
    while (name := page.evaluate("document.activeElement.id || document.activeElement.textContent")) != "find":
        order.append(name)
        assert page.evaluate(FOCUS_IS_SEEN), name
        if name == "concept":
            page.keyboard.type("handbag")
        if name == "bits":
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
    assert [name for name in order if name in {"concept", "bits", "toward", "avoid", "count"}] == [
        "concept",
        "bits",
        "toward",
        "avoid",
        "count",
    ]
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "rare, 10.5 bits, 1 in 1,400 plain samples")
    page.keyboard.press("Enter")
    expect(state(page)).not_to_be_empty()
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(state(page)).to_have_text("Canceled")


def test_nothing_is_wider_than_a_small_phone(open_page, finished):
    page = open_page("/", viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.goto(f"/#/jobs/{finished['id']}")
    expect(page.locator(RESULT)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_service_that_wants_a_key_is_given_one_for_this_tab(open_page, locked):
    url, key = locked
    page = open_page(url)
    field = page.get_by_label("This service asks for an API key")
    for given in ("rb_of-somebody-else", key):
        expect(field).to_be_focused()
        page.keyboard.type(given)
        page.keyboard.press("Enter")
        expect(page.locator("#key-note")).to_contain_text("does not open" if given != key else "Kept")
    expect(field).to_be_hidden()
    ask(page)
    expect(state(page)).to_contain_text("Waiting")
    assert key not in page.evaluate("JSON.stringify(localStorage)")
    assert page.evaluate("Object.values(sessionStorage)") == [key]


def test_double_click_takes_one_chip(open_page):
    page = open_page()
    page.locator("#toward").fill("red, blue, green")
    page.locator("#toward").press("Enter")
    page.get_by_role("button", name="Remove red").dblclick()
    expect(page.locator("#toward-list li span")).to_have_text(["blue", "green"])


def test_history_pages_back_to_what_was_looked_for_first(open_page, service, finished):
    for _ in range(24):
        service.client.post(f"/jobs/{service.submit(concept='cup')}/cancel").raise_for_status()
    page = open_page()
    first = page.locator(f"#history a[href='#/jobs/{finished['id']}']")
    expect(page.locator("#history li")).to_have_count(24)
    expect(first).to_have_count(0)
    while not first.count():
        shown = page.locator("#history li").count()
        page.get_by_role("button", name="Older").dblclick()
        expect(page.locator("#history li").nth(shown)).to_be_attached()
        page.wait_for_load_state("networkidle")
        links = page.eval_on_selector_all("#history a", "links => links.map((link) => link.href)")
        assert len(links) == len(set(links))
    first.click()
    expect(page.locator(RESULT)).to_have_count(2)


@pytest.mark.parametrize("named", ["0" * 32, "0-of-another-kind", "%2e%2e"])
def test_a_run_that_is_not_there_is_said_to_be_so_with_a_way_on(open_page, named):
    page = open_page(f"/#/jobs/{named}")
    expect(page.get_by_role("alert")).to_contain_text("There is no such run")
    for other in (".invitation", "#run h2", ".plot"):
        expect(page.locator(other)).to_be_hidden()
    page.get_by_role("link", name="Look for something new").click()
    expect(page.locator(".invitation")).to_be_visible()
    expect(page.locator(".lost")).to_be_hidden()
    assert page.evaluate("location.hash") == "#/"


def test_a_run_that_has_expired_is_told_from_one_that_never_was(open_page, service):
    job_id = service.submit(expires_in=1)
    service.finish(job_id)
    assert eventually(lambda: service.client.get(f"/jobs/{job_id}").status_code == 410, LIMIT_S)
    page = open_page(f"/#/jobs/{job_id}")
    expect(page.get_by_role("alert")).to_contain_text("That run is no longer kept")


@pytest.mark.parametrize("width", [320, 1360])
def test_long_words_widen_nothing(open_page, finished, width):
    page = open_page("/", viewport={"width": width, "height": 800})
    word = "Lang" * 50
    error = {"code": "storage", "title": word, "detail": word}
    failed = {"status": "failed", "outputs": [], "error": error, "concept": word, "warnings": [word]}
    asked = finished["request"] | {"concept": word, "toward": [{"text": word}], "avoid": [{"text": word}]}
    job = answer(page, finished | failed | {"request": asked})
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator(".detail")).to_have_text(word)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for place in (".detail", ".rare h2", ".rare > p", ".warnings p", "figcaption"):
        box = page.locator(place).first.bounding_box()
        assert box["x"] + box["width"] <= width, place


def test_history_follows_what_goes_on(open_page, service):
    page = open_page()
    ask(page, concept="hat that ends")
    shown = page.locator(f"#history a[href='#/jobs/{job_of(page)}']")
    expect(state(page)).to_have_text("Done")
    expect(shown).to_contain_text("hat that ends")
    expect(shown).not_to_contain_text(re.compile("queued|running"))
    expect(shown.locator("img")).to_have_count(1)


def test_history_follows_a_job_that_is_not_open(open_page, service):
    job_id = service.submit(concept="shoe elsewhere", **ENDLESS)
    page = open_page()
    shown = page.locator(f"#history a[href='#/jobs/{job_id}']")
    expect(shown).to_contain_text(re.compile("queued|running"))
    shown.focus()
    service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    expect(shown).to_contain_text("canceled")
    expect(shown).to_be_focused()


def test_focus_goes_on_where_a_button_has_gone(open_page, service, endless):
    page = open_page(f"/#/jobs/{endless}")
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(state(page)).to_have_text("Canceled")
    expect(page.locator("#run")).to_be_focused()
    page.get_by_role("button", name="Show plain samples").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".ordinary")).to_be_focused()


@pytest.mark.parametrize("shown", ["start", "running", "done", "failed"])
def test_nothing_is_wrong_to_axe_and_every_word_stands_out_in_either_theme(open_page, finished, shown):
    page = open_page()
    job = None if shown == "start" else running(page, finished)
    if shown == "done":
        job.update(finished)
    if shown == "failed":
        error = {"code": "storage", "title": "The store is away", "detail": "It did not answer."}
        job.update(finished, status="failed", outputs=[], error=error)
    if job:
        expect(state(page)).to_have_text({"running": "Finding them", "done": "Done", "failed": "Failed"}[shown])
    page.locator("#more").evaluate("details => { details.open = true }")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == [], scheme


def test_a_finger_finds_everything_on_a_phone(open_page, finished):
    page = open_page("/", viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("#toward").fill("red")
    page.locator("#toward").press("Enter")
    page.locator("#more").evaluate("details => { details.open = true }")
    targets = "button, input:not([type=checkbox]), select, summary, label.check, a:not(p a)"
    for path in ("/", f"/#/jobs/{finished['id']}"):
        page.goto(path)
        expect(page.locator(RESULT)).to_have_count(0 if path == "/" else 2)
        small = page.eval_on_selector_all(targets, TOO_SMALL)
        assert small == []


def test_on_phones_the_run_stays_in_view_with_a_way_to_its_pictures(open_page, finished):
    page = open_page(viewport={"width": 360, "height": 740})
    job = running(page, finished)
    way = page.get_by_role("link", name="Previews ↓")
    expect(way).to_be_visible()
    for depth in (0, 0.5, 1):
        page.evaluate("depth => scrollTo({ top: depth * document.body.scrollHeight, behavior: 'instant' })", depth)
        for part in (page.locator("#run h2"), page.locator("#run progress"), page.get_by_role("button", name="Cancel")):
            expect(part).to_be_in_viewport(ratio=1)
    way.press("Enter")
    expect(page.locator("#rare")).to_be_focused()
    expect(page.locator("#rare h2")).to_be_in_viewport()
    job.update(finished)
    expect(page.get_by_role("link", name="2 found ↓")).to_be_visible()


def met(page: Page) -> list[tuple[dict, dict]]:
    """Pictures and words on the map that overlap one another, while they glide to their places."""
    return meeting(boxes(page, ".map .pictures rect, .map .words text:not(:empty)"))


@pytest.mark.parametrize("count", [4, 16])
def test_pictures_on_the_map_meet_neither_each_other_nor_its_words(open_page, finished, count):
    page = open_page()
    job = running(page, finished, trials=count)
    expect(page.locator(".map .trails path")).to_have_count(count)
    assert eventually(lambda: met(page) == []), met(page)
    seed, output = finished["request"]["seed"], finished["outputs"][0]
    rarities = [output["rarity"] | {"bits": 2 + i} for i in range(count)]
    outputs = [output | {"index": i, "seed": seed + i, "rarity": rarity} for i, rarity in enumerate(rarities)]
    job.update(finished, outputs=outputs)
    expect(page.locator(".map .found")).to_have_count(count)
    for width in (360, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 1000})
        assert eventually(lambda: met(page) == []), (width, met(page))


def test_paths_fade_beyond_what_is_looked_for_and_those_of_results_stand_out(open_page, finished):
    page, target, rim = open_page(), 6.0, 20.6
    request = finished["request"] | {"rarity": {"bits": target, "percentile": None, "ladder": None}}
    job = running(page, finished | {"request": request})
    expect(page.locator(".map .trails path")).to_have_count(2)
    whole, last, faint = page.eval_on_selector_all("#fade stop", STOPS)
    assert whole["opacity"] == last["opacity"] == 1
    assert target <= rim * last["offset"] < rim * faint["offset"] < target + 2
    assert faint["opacity"] < 0.2
    job.update(finished, outputs=[finished["outputs"][0] | {"seed": request["seed"]}], request=request)
    chosen, other = page.locator(".trails .chosen"), page.locator(".trails .ended")
    expect(chosen).to_have_count(1)
    width = "path => parseFloat(getComputedStyle(path).strokeWidth) * getComputedStyle(path).opacity"
    assert chosen.evaluate(width) > 10 * other.evaluate(width)


@pytest.mark.parametrize("shown", ["start", "running", "done"])
def test_parts_stand_beside_each_other_from_a_small_phone_to_4k(open_page, finished, shown):
    page = open_page()
    if shown == "running":
        running(page, finished)
    if shown == "done":
        page.goto(f"/#/jobs/{finished['id']}")
        expect(page.locator(RESULT)).to_have_count(2)
    for width in (360, 780, 1180, 2200, 3840):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        strip = ", #run" if width < 780 else ""  # which stays in view, over the rest
        assert meeting(boxes(page, f"main > :not([hidden]{strip})")) == [], width


def test_how_much_is_said_where_it_is_chosen_and_asked_for(open_page, finished):
    """The weight of a word, the strength of a picture to start from, the variety of the set; axe has nothing to say."""
    page, asked = open_page(f"/#/jobs/{finished['id']}"), []
    page.get_by_role("button", name="Vary: handbag, image 2").click()
    strength = page.get_by_role("slider", name="How far from it")
    expect(strength).to_be_focused()
    strength.press("ArrowLeft")
    page.locator("#toward").fill("red")
    page.locator("#toward").press("Enter")
    page.get_by_role("slider", name="How much red counts").press("Home")
    page.locator("#more").evaluate("details => { details.open = true }")
    page.get_by_role("slider", name="Valid to varied").press("End")
    assert faults(page) == []

    def refuse(route):
        asked.append(route.request.post_data_json)
        errors = [{"pointer": "/image/output", "detail": "is gone"}]
        route.fulfill(
            status=422, json={"type": "/problems/invalid_request", "title": "No", "status": 422, "errors": errors}
        )

    page.route("**/jobs", refuse)
    page.evaluate("localStorage.setItem('rarebit.plain', JSON.stringify([['handbag\\n', '0']]))")
    page.locator("#find").click()
    expect(page.locator("#start .problem")).to_have_text("is gone")
    expect(strength).to_be_focused()
    assert asked[0]["image"]["output"] == f"{finished['id']}/1"
    assert (asked[0]["image"]["strength"], asked[0]["toward"][0]["weight"], asked[0]["variety"]) == (0.45, 0, 1)
    page.locator("#start-list button").click()
    expect(page.locator("#start")).to_be_hidden()
