"""What the studio promises to whoever looks for something, in a real browser over the real service."""

import json
import re
from itertools import groupby

import pytest
from playwright.sync_api import expect

from servers import eventually
from services.jobs.leases import Leases
from services.jobs.record import Metrics, Progress
from tests.studio.steps import (
    FORM,
    answer,
    ask,
    boxes,
    drag,
    events,
    faults,
    job_of,
    loaded,
    picture,
    preview,
    record,
    state,
    step,
    turn,
)

LIMIT_S = 180
STEP = Progress(phase="optimize", step=12, steps=50, rarity_bits=2.5)
RESULT = ".rare .tile:has(.steering)"
ATTEMPTS = """async () => {
  const { createEstimate } = await import("./studio/js/estimate.js");
  const estimate = createEstimate();
  const phases = [["load", 0, 1], ["fit", 2500, 5000], ["fit", 5000, 5000], ["optimize", 12, 50], ["decode", 4, 8],
    ["load", 0, 1], ["optimize", 1, 50], ["optimize", 20, 50], ["upload", 2, 4]];
  return phases.map(([phase, step, steps], i) =>
    estimate({ status: "running", progress: { phase, step, steps } }, null, 4000 * i));
}"""
ROUNDS = """async () => {
  const { createEstimate } = await import("./studio/js/estimate.js");
  const estimate = createEstimate();
  const round = [...Array(25).keys()].map((step) => ["optimize", step + 1, 50]);
  const long = [...Array(50).keys()].map((step) => ["decode", step + 1, 100]);
  const phases = [...round, ["decode", 8, 8], ...round, ["decode", 8, 8], ...round, ...long];
  return phases.map(([phase, step, steps], i) =>
    estimate({ status: "running", progress: { phase, step, steps } }, null, 1000 * i).left);
}"""


def test_the_page_may_load_nothing_but_its_own_files_and_pictures(service):
    policy = service.client.get("/").raise_for_status().headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert service.client.get("/studio/js/main.js").headers["cache-control"] == "no-cache"


def test_rare_images_come_with_their_figures_beside_plain_ones(open_page, service):
    page = open_page(reduced_motion="no-preference")
    said = record(page)
    ask(page, mode="calibrated")
    expect(page.locator(RESULT)).to_have_count(1)
    expect(state(page)).to_have_text("Done")
    assert_calm(said())
    expect(page.locator(".ordinary .tile figcaption", has_text="bits")).to_have_count(4)
    assert loaded(page, ".gallery img")
    output = service.read(job_of(page))["outputs"][0]
    figures = page.locator(RESULT).locator("figcaption")
    expect(figures).to_contain_text(f"{output['rarity']['bits']:.1f} bits")
    expect(figures).to_contain_text(f"seed {output['seed']}")
    expect(page.locator(".map .found")).to_have_count(1)
    expect(page.locator("#history-list [aria-current]")).to_contain_text("handbag")


def made(service, concept: str) -> list[dict]:
    jobs = service.client.get("/jobs?limit=100").raise_for_status().json()["jobs"]
    return [job for job in jobs if job["concept"] == concept]


@pytest.mark.parametrize("activate", ["dblclick", "held Enter"])
def test_activations_within_half_a_second_are_one_job_and_its_plain_samples(open_page, service, activate):
    page, concept = open_page(), f"hat of the {activate}"
    page.locator("#concept").fill(concept)
    if activate == "dblclick":
        page.locator("#find").dblclick(delay=50)
    else:
        for _ in range(4):
            page.locator("#concept").press("Enter")
    job_id = job_of(page)
    expect(state(page)).not_to_be_empty()
    assert page.locator("#stop").is_hidden()
    assert [(job["id"] == job_id, job["metadata"]) for job in made(service, concept)] == [
        (True, {}),
        (False, {"studio": "plain"}),
    ]
    for job in made(service, concept):
        service.client.post(f"/jobs/{job['id']}/cancel").raise_for_status()


def test_sending_that_is_stopped_says_so_and_leaves_no_job(open_page, service):
    page = open_page()
    service.gateway.freeze()
    page.locator("#concept").fill("clock that stands")
    page.locator("#find").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#say")).to_have_text("Stopped. No job goes on.")
    expect(page.locator("#find")).to_be_focused()
    service.gateway.thaw()
    assert eventually(lambda: [job["status"] for job in made(service, "clock that stands")] == ["canceled"], LIMIT_S)


def test_plain_samples_of_a_sending_that_is_stopped_are_canceled(open_page, service, endless):
    waiting = [service.submit() for _ in range(3)]
    page = open_page()
    page.locator("#concept").fill("cup that waits")
    page.locator("#find").click()
    expect(page.locator("#banner")).to_contain_text("Trying again")
    assert [job["status"] for job in made(service, "cup that waits")] == ["queued"]
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#banner")).to_be_hidden()
    assert eventually(lambda: made(service, "cup that waits")[0]["status"] == "canceled", LIMIT_S)
    assert page.evaluate("localStorage.getItem('rarebit.plain')") == "[]"
    for job_id in waiting:
        service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()


def test_plain_samples_of_a_concept_are_made_once(open_page, service):
    page = open_page()
    ask(page)
    expect(page.locator(".ordinary img")).to_have_count(4)
    expect(page.locator(".ordinary img").first).to_have_attribute("src", re.compile("."))
    first = page.locator(".ordinary img").first.get_attribute("src").partition("?")[0]
    ask(page, seed="3")
    expect(page.locator(RESULT)).to_contain_text("seed")
    page.reload()
    expect(page.locator(".ordinary img").first).to_have_attribute("src", re.compile(re.escape(first)))


def test_trials_leave_the_cloud_and_previews_show_what_they_look_like(open_page, service, endless):
    page = open_page(f"/#/jobs/{endless}")
    expect(page.locator(".map .trails path")).to_have_count(40)
    expect(page.locator(".plot .marks circle")).to_have_count(40)
    baseline = service.client.get(f"/jobs/{endless}/baseline").raise_for_status().json()
    expect(page.locator(".map .cloud:not(.assumed) circle")).to_have_count(len(baseline["points"]))
    expect(page.locator(".map .preview image").first).to_have_attribute("href", re.compile("^data:image/jpeg"))
    expect(page.locator(".rare .preview img")).to_have_count(8)
    assert len(page.locator(".map .trails path").first.get_attribute("d").split("Q")) > 10


@pytest.mark.parametrize("wide", [False, True])
def test_a_preview_gives_way_to_the_next_of_its_trial_and_to_the_picture_where_it_stands(open_page, finished, wide):
    page = open_page(viewport={"width": 400, "height": 900})
    done = [output | {"seed": finished["request"]["seed"] + trial} for trial, output in enumerate(finished["outputs"])]
    edge = finished["outputs"][0]["width"]
    request = finished["request"] | {"size": {"width": edge, "height": edge // 2} if wide else edge}
    running = {"status": "running", "finished_at": None, "outputs": [], "warnings": [], "request": request}
    first = events(preview={"step": 1, "pictures": [preview(0, 5, "red"), preview(1, 4, "blue")]})
    later = events(preview={"step": 2, "pictures": [preview(1, 9, "green")]})
    job = answer(page, finished | running, first, later)
    page.goto(f"/#/jobs/{job['id']}")
    looks = page.locator(".rare .preview")
    expect(looks.first).to_contain_text("5.0 bits so far")
    place = looks.nth(1).element_handle()
    expect(looks.nth(1)).to_contain_text("9.0 bits so far")
    assert place.evaluate("place => place.isConnected")
    before = boxes(page, ".rare .frame")
    job.update(finished, outputs=done, warnings=[])
    expect(page.locator(RESULT)).to_have_count(2)
    expect(page.locator(".rare .look")).to_have_count(0)
    assert boxes(page, ".rare .frame") == before


def test_what_the_judge_does_not_know_is_said_above_the_pictures_and_under_each(open_page, finished):
    page = open_page()
    warnings = ["the judge does not know “handbag”", "1 of 2 images is not as rare as asked for"]
    outputs = [output | {"validity": None} for output in finished["outputs"]]
    job = answer(page, finished | {"warnings": warnings, "outputs": outputs})
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator(".rare .warnings p")).to_have_text(warnings)
    expect(page.locator(RESULT).filter(has_text="validity unknown")).to_have_count(2)
    assert not re.search("null|NaN|None|undefined|% valid", page.locator("#gallery").inner_text())


def test_a_reload_in_mid_job_goes_on_watching(open_page, endless):
    page = open_page(f"/#/jobs/{endless}")
    expect(state(page)).to_have_text("Finding them")
    seen = step(page)
    page.reload()
    expect(state(page)).to_have_text("Finding them")
    assert eventually(lambda: step(page) > seen, LIMIT_S)


def test_cancel_stops_the_run(open_page, service, endless):
    page = open_page(f"/#/jobs/{endless}")
    expect(state(page)).to_have_text("Finding them")
    expect(page.locator("#find")).not_to_have_class(re.compile("primary"))
    page.get_by_role("button", name="Cancel").click()
    expect(state(page)).to_have_text("Canceled")
    expect(page.locator("#find")).to_have_class(re.compile("primary"))
    assert service.read(endless)["status"] == "canceled"


def test_a_page_that_loses_the_service_says_so_and_goes_on_by_itself(open_page, service, endless):
    page = open_page(f"/#/jobs/{endless}")
    seen = step(page)
    assert eventually(lambda: step(page) > seen, LIMIT_S), "no event has come that could be resumed after"
    resumed: list[str] = []
    page.on("request", lambda request: resumed.append(request.headers.get("last-event-id", "")))
    service.gateway.kill()
    expect(page.locator("#banner")).to_contain_text("The service does not answer. Trying again")
    service.gateway.start()
    expect(page.locator("#banner")).to_be_hidden()
    seen = step(page)
    assert eventually(lambda: step(page) > seen, LIMIT_S)
    assert any(resumed)


def test_more_like_this_and_away_from_this_are_jobs_that_name_the_image(open_page, service, finished):
    page = open_page(f"/#/jobs/{finished['id']}")
    image = f"{finished['id']}/1"
    for button, field in [("More like this", "toward"), ("Away from this", "avoid")]:
        page.get_by_role("button", name=f"{button}: handbag, image 2").click()
        page.wait_for_url(lambda url: finished["id"] not in url)
        job_id = job_of(page)
        request = service.read(job_id)["request"]
        assert [direction["output"] for direction in request[field]] == [image]
        assert request["seed"] != finished["request"]["seed"]
        expect(page.locator(f"#{field}-list img")).to_have_count(1)
        service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
        page.go_back()
        expect(page.locator(RESULT)).to_have_count(2)


def test_replay_shows_the_block_and_runs_the_same_again(open_page, service, finished):
    page = open_page(f"/#/jobs/{finished['id']}")
    page.get_by_role("button", name="Replay: handbag, image 1").click()
    assert json.loads(page.locator("#paper-text").inner_text()) == finished["outputs"][0]["replay"]
    page.get_by_role("button", name="Run it again").click()
    page.wait_for_url(lambda url: finished["id"] not in url)
    again = service.finish(job_of(page))
    assert [output["sha256"] for output in again["outputs"]] == [output["sha256"] for output in finished["outputs"]]


def test_what_is_kept_is_drawn_again_in_a_sentence_saved_taken_in_and_erased(open_page, service, finished):
    page = open_page(f"/#/jobs/{finished['id']}")
    kept = page.locator("#kept-list li")
    expect(page.locator("#kept-none")).to_be_visible()
    page.get_by_role("button", name="Keep: handbag, image 1").click()
    expect(kept).to_have_count(1)
    page.get_by_role("button", name="Draw again: handbag").click()
    page.locator("#again-prompt").fill("a red {}")
    page.get_by_role("button", name="Draw it", exact=True).click()
    page.wait_for_url(lambda url: finished["id"] not in url)
    job = service.finish(job_of(page))
    assert job["request"]["prompt"] == "a red {}"
    assert [output["likeness"] is not None for output in job["outputs"]] == [True, True]
    expect(page.locator(".rare > p")).to_have_text("drawn again as “a red handbag”.")
    expect(page.locator(".rare .badges", has_text="short of")).to_have_count(0)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save: handbag, ", exact=False).last.click()
    file = {"name": "arch.png", "mimeType": "image/png", "buffer": saved.value.path().read_bytes()}
    page.locator("#kept-file").set_input_files(file)
    expect(kept.first).to_contain_text("arch.png")
    for left in (1, 0):
        page.get_by_role("button", name="Erase: ").first.click()
        expect(kept).to_have_count(left)
    assert service.client.get("/found").json() == {"found": []}


def test_curl_is_the_request_that_the_service_takes(open_page, service, finished):
    page = open_page(f"/#/jobs/{finished['id']}")
    page.get_by_role("button", name="curl: handbag, image 1").click()
    expect(page.locator("#say")).to_have_text("Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert f"{service.url}/jobs" in command
    body = json.loads(re.search(r"-d '(.*)'$", command)[1])
    assert body["seed"] == finished["request"]["seed"]
    job = service.client.post("/jobs", json=body).raise_for_status().json()
    assert service.finish(job["id"])["outputs"][0]["sha256"] == finished["outputs"][0]["sha256"]


def test_a_full_queue_is_said_and_waited_for(open_page, service, endless):
    waiting = [service.submit() for _ in range(4)]
    page = open_page()
    ask(page)
    expect(page.locator("#banner")).to_contain_text(re.compile(r"queue is full.* Trying again in \d s", re.IGNORECASE))
    for job_id in waiting:
        service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    assert service.read(job_of(page))["status"] == "queued"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_page_of_a_proxy_is_no_answer_and_waited_out(open_page, service, status):
    page = open_page()
    html = {"status": status, "content_type": "text/html", "body": "<h1>nginx</h1>"}
    page.route("**/jobs", lambda route: route.fulfill(**html), times=1)
    ask(page)
    expect(page.locator("#banner")).to_contain_text(f"The service answered {status}. Trying again in")
    assert service.read(job_of(page))["status"] != "canceled"
    for job in made(service, "handbag"):
        service.client.post(f"/jobs/{job['id']}/cancel").raise_for_status()


def test_worker_that_stopped_answering_is_told_until_another_has_taken_over(open_page, workerless):
    url, client = workerless
    page = open_page(url)
    ask(page)
    leases = Leases(client, worker="w", lease_s=30)
    expect(state(page)).to_contain_text("Waiting")
    while (claim := leases.claim()).id != job_of(page):
        leases.succeed(claim, [], [], Metrics())  # of the plain samples
    leases.progress(claim, STEP)
    expect(state(page)).to_contain_text("Finding them")
    client.zincrby("{rarebit}:leases", -12_000, claim.id)
    expect(state(page)).to_contain_text("The worker stopped answering")
    expect(page.locator("#run .detail")).to_contain_text("Another one takes over")
    client.zadd("{rarebit}:leases", {claim.id: 0})
    leases.recover()
    again = leases.claim()
    expect(state(page)).to_contain_text("The worker stopped answering")
    leases.progress(again, STEP)
    expect(state(page)).to_contain_text("Finding them")


def test_fitting_is_said_when_all_samples_are_drawn(open_page, finished):
    page = open_page()
    progress = {"phase": "fit", "step": 5000, "steps": 5000, "rarity_bits": None}
    running = {"status": "running", "finished_at": None, "outputs": [], "progress": progress}
    job = answer(page, finished | running, events(progress=progress))
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator(".detail")).to_have_text("Fitting the mixture to all samples")


def assert_calm(said):
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    headlines = [headline for headline, _ in groupby(headline for headline, _ in said if headline)]
    assert headlines in (["Waiting", "Finding them", "Done"], ["Finding them", "Done"])


def test_the_bar_holds_still_when_another_attempt_begins_anew_and_tells_what_is_left(open_page):
    said = open_page().evaluate(ATTEMPTS)
    assert [one["share"] for one in said] == sorted(one["share"] for one in said)
    assert said[0]["left"] is None
    assert all(0 < one["left"] < 60 for one in said[2:])


def test_what_is_left_is_no_less_than_the_phase_in_hand_takes(open_page):
    """A step a second, of which 50 are left of the last look at the trials."""
    assert 45 < open_page().evaluate(ROUNDS)[-1] < 60


def test_what_was_reached_is_said_and_weak_pictures_are_badged(open_page, finished):
    page = open_page()
    measured = [({"bits": 6.91}, 0.05), ({"bits": 10.24}, 0.9)]
    outputs = [
        output | {"rarity": output["rarity"] | rarity, "validity": validity}
        for output, (rarity, validity) in zip(finished["outputs"], measured, strict=True)
    ]
    request = finished["request"] | {"rarity": {"bits": 10, "percentile": None}}
    untold = dict.fromkeys(finished["metrics"], 0)
    job = answer(page, finished | {"outputs": outputs, "request": request, "metrics": untold})
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator("#run .detail")).to_have_text("2 images")
    expect(page.locator(".rare h2")).to_have_text("handbag, 6.9 to 10.2 bits out")
    expect(page.locator(".rare > p")).to_have_text("10 bits asked for.")
    expect(page.locator(".badges").nth(0).locator("span")).to_have_text(["short of 10 bits", "doubtful"])
    expect(page.locator(".badges").nth(1)).to_be_empty()
    expect(page.locator(".map .found.weak")).to_have_count(1)


def test_a_ladder_is_asked_for_and_each_column_is_a_strip(open_page, service, finished):
    page = open_page(viewport={"width": 1360, "height": 900})
    rungs = [(0, 0, 2.0), (0, 1, 5.0), (1, 0, 2.0)]
    first = finished["outputs"][0]
    outputs = [
        first
        | {"index": index, "rarity": first["rarity"] | {"bits": bits, "rung": {"column": c, "index": r, "bits": bits}}}
        for index, (c, r, bits) in enumerate(rungs)
    ]
    request = finished["request"] | {"count": 2, "rarity": {"bits": None, "percentile": None, "ladder": [2.0, 5.0]}}
    job = answer(page, finished | {"outputs": outputs, "request": request})
    page.goto(f"/#/jobs/{job['id']}")
    expect(page.locator(RESULT)).to_have_count(3)
    expect(page.locator(".rare > p")).to_have_text("2, 5 bits asked for.")
    expect(page.locator(".rare .badges span", has_text="short of")).to_have_count(0)
    low, high, other = boxes(page, ".rare .frame")
    assert low["y"] == high["y"] < other["y"]
    assert low["x"] == other["x"] < high["x"]
    expect(page.locator("#ladder")).to_have_value("2, 5")
    page.unroute_all()
    ask(page, mode="calibrated", ladder="5, 2")
    expect(page.locator(".field:has(#ladder) .problem")).to_contain_text("2")


def test_changes_of_the_form_are_taken_back_one_by_one(open_page, finished):
    page = open_page()
    undo, asked = page.get_by_role("button", name="Undo"), []
    expect(undo).to_be_disabled()
    for change in (
        lambda: page.get_by_role("button", name="chair", exact=True).click(),
        lambda: page.locator("#bits").press("ArrowRight"),
        lambda: turn(page),
        lambda: (page.locator("#toward").fill("red, blue"), page.locator("#toward").press("Enter")),
        lambda: page.get_by_role("button", name="Remove red").click(),
        lambda: (page.goto(f"/#/jobs/{finished['id']}"), expect(picture(page, 2)).to_be_visible()),
        lambda: page.get_by_role("button", name="Vary: handbag, image 2").click(),
    ):
        asked.append(page.evaluate(FORM))
        change()
        assert page.evaluate(FORM) != asked[-1]
    while asked:
        undo.click() if len(asked) % 2 else page.locator("#bits").press("Control+z")
        assert page.evaluate(FORM) == asked.pop()
    expect(undo).to_be_disabled()
    expect(page.locator("#find")).to_be_focused()


@pytest.mark.parametrize("place", ["#ask [data-drop=toward]", "#drop [data-drop=toward]"])
def test_a_picture_is_dragged_onto_what_it_is_to_steer(open_page, service, finished, place):
    page = open_page(f"/#/jobs/{finished['id']}", viewport={"width": 1360, "height": 1600})
    drag(page, picture(page, 2), page.locator(place))
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator("#toward-list img")).to_have_count(1)
    page.locator("#find").click()
    page.wait_for_url(lambda url: finished["id"] not in url)
    job_id = job_of(page)
    assert [one["output"] for one in service.read(job_id)["request"]["toward"]] == [f"{finished['id']}/1"]
    service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()


def test_keys_do_what_dragging_does(open_page, finished):
    page = open_page(f"/#/jobs/{finished['id']}")
    for way, other, name in [("toward", "avoid", "Lean toward it"), ("avoid", "toward", "Stay away from it")]:
        picture(page, 2).press("Enter")
        page.get_by_role("button", name=name).press("Enter")
        expect(picture(page, 2)).to_be_focused()
        expect(page.locator(f"#{way}-list img")).to_have_count(1)
        expect(page.locator(f"#{other}-list img")).to_have_count(0)


def test_pictures_of_two_runs_stand_side_by_side(open_page, service, finished):
    other = service.finish(service.submit(toward=[{"text": "red"}], rarity={"bits": 30}))
    page = open_page(f"/#/jobs/{finished['id']}")
    page.get_by_role("button", name="Compare: handbag, image 2").press("Enter")
    expect(page.locator("#compared")).to_contain_text("handbag, image 2 is to be compared")
    assert faults(page) == []
    page.goto(f"/#/jobs/{other['id']}")
    page.get_by_role("button", name="Compare: handbag, image 1").press("Enter")
    sides = page.locator("#compare-pair figure")
    for side, output in [(0, finished["outputs"][1]), (1, other["outputs"][0])]:
        expect(sides.nth(side)).to_contain_text(f"{output['rarity']['bits']:.1f} bits")
    expect(sides.nth(1)).to_contain_text("30 bits asked for, toward red")
    expect(sides.nth(1).locator(".badges")).to_contain_text("short of 30 bits")
    for width in (360, 1360):
        page.set_viewport_size({"width": width, "height": 800})
        left, right = boxes(page, "#compare-pair img")
        assert left["y"] == right["y"]
        assert 0 < left["right"] < right["left"] < right["right"] < width
    assert faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#compared")).to_be_hidden()
    expect(page.get_by_role("button", name="Compare: handbag, image 1")).to_be_focused()


def test_a_run_that_another_was_begun_beside_is_a_press_away(open_page, service, endless):
    page = open_page(f"/#/jobs/{endless}")
    expect(page.locator("#concept")).to_have_value("handbag")
    page.locator("#concept").fill("boat beside it")
    page.locator("#find").click()
    page.wait_for_url(lambda url: endless not in url)
    job_id = job_of(page)
    page.locator("#others").get_by_role("link", name="handbag").click()
    assert job_of(page) == endless
    expect(page.locator("#others").get_by_role("link", name="boat beside it")).to_be_visible()
    assert service.read(endless)["status"] == "running"
    service.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    expect(page.locator("#others").get_by_role("link", name="boat beside it")).to_have_count(0)
