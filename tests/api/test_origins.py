"""Pages of listed origins may call from the browser; those of others may not, and by default none may."""

import pytest

OURS, OTHER = "https://design.test", "https://other.test"
CALL = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,idempotency-key,prefer",
}


@pytest.fixture
def settings(settings, request):
    listed = getattr(request, "param", [OURS])
    return settings.model_copy(update={"cors_origins": listed})


@pytest.mark.parametrize("path", ["/jobs", "/images", "/jobs/x/events"])
async def test_page_of_a_listed_origin_may_call(gateway, path):
    answer = await gateway.options(path, headers={"origin": OURS} | CALL)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, OURS)
    assert set(CALL["access-control-request-headers"].split(",")) <= set(
        answer.headers["access-control-allow-headers"].split(",")
    )
    assert {"DELETE", "GET", "POST", "PUT"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "access-control-allow-credentials" not in answer.headers


async def test_it_reads_answers_and_their_headers_and_problems_too(gateway, app):
    app.add_api_route("/fails", lambda: 1 / 0)
    answers = [await gateway.post("/jobs", json={"concept": "lamp"}, headers={"origin": OURS})]
    answers += [await gateway.get(path, headers={"origin": OURS}) for path in ("/nothing", "/fails")]
    assert [answer.status_code for answer in answers] == [202, 404, 500]
    for answer in answers:
        assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (OURS, "Origin")
        assert {"Location", "Retry-After"} <= set(answer.headers["access-control-expose-headers"].split(", "))


async def test_page_of_another_origin_may_not(gateway):
    asked = await gateway.options("/jobs", headers={"origin": OTHER} | CALL)
    assert (asked.status_code, asked.headers["content-type"]) == (403, "application/problem+json")
    assert asked.json()["detail"] == "pages of https://other.test may not call"
    read = await gateway.get("/jobs", headers={"origin": OTHER})
    for answer in (asked, read):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("settings", [[]], indirect=True)
async def test_no_origin_is_listed_by_default(gateway):
    for answer in (await gateway.options("/jobs", headers={"origin": OURS} | CALL), await gateway.get("/jobs")):
        assert not [name for name in answer.headers if name.startswith("access-control")]
