"""How `POST /jobs` refuses what is no request: by its place, its value and in words that can be followed."""

import gzip
import json

import pytest

JSON = {"content-type": "application/json"}


async def refusal(gateway, body):
    """The problem and its pointers; no job was made."""
    answer = await gateway.post("/jobs", content=body if isinstance(body, bytes) else json.dumps(body), headers=JSON)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await gateway.get("/jobs")).json()["jobs"] == []
    return answer.status_code, [error.get("pointer") for error in answer.json().get("errors", [])]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"concept": ""}, "/concept"),
        ({"concept": "   "}, "/concept"),
        ({"concept": "x" * 201}, "/concept"),
        ({"concept": 7}, "/concept"),
        ({"concept": "\ud800"}, "/concept"),
        ({"prompt": "no place"}, "/prompt"),
        ({"prompt": "{} and {}"}, "/prompt"),
        ({"count": 0}, "/count"),
        ({"count": 17}, "/count"),
        ({"count": True}, "/count"),
        ({"count": "2"}, "/count"),
        ({"rarity": {"percentile": 100}}, "/rarity/percentile"),
        ({"rarity": {"percentile": 20}}, "/rarity/percentile"),
        ({"rarity": {"bits": 31}}, "/rarity/bits"),
        ({"rarity": {"bits": 5, "percentile": 90}}, "/rarity"),
        ({"rarity": {}}, "/rarity"),
        ({"rarity": 99.9}, "/rarity"),
        ({"rarity": {"ladder": [2]}}, "/rarity/ladder"),
        ({"rarity": {"ladder": list(range(1, 21))}}, "/rarity/ladder"),
        ({"rarity": {"ladder": [2, 5, 4]}}, "/rarity/ladder/2"),
        ({"rarity": {"ladder": [2, 2.4]}}, "/rarity/ladder/1"),
        ({"rarity": {"ladder": [2, 31]}}, "/rarity/ladder/1"),
        ({"rarity": {"ladder": [2, 5], "bits": 5}}, "/rarity"),
        ({"rarity": {"ladder": [2, 5]}, "mode": "paper"}, "/rarity/ladder"),
        ({"rarity": {"ladder": [2, 5, 10]}, "count": 6}, "/count"),
        ({"steps": 1001}, "/steps"),
        ({"count": 4, "trials": 3}, "/trials"),
        ({"mode": "paper", "trials": 2}, "/trials"),
        ({"mode": "literal"}, "/mode"),
        ({"space": []}, "/space"),
        ({"space": ["lora", "lora"]}, "/space"),
        ({"space": ["token", "pixels"]}, "/space/1"),
        ({"image": {}}, "/image"),
        ({"image": {"upload": "a" * 32, "output": f"{'a' * 32}/0"}}, "/image"),
        ({"image": {"upload": "../../etc/passwd"}}, "/image/upload"),
        ({"image": {"output": f"{'a' * 32}/007"}}, "/image/output"),
        ({"avoid": [{"text": " "}]}, "/avoid/0/text"),
        ({"avoid": [{"text": "x" * 201}]}, "/avoid/0/text"),
        ({"avoid": [{"text": "plastic"}, {"output": "plastic"}]}, "/avoid/1/output"),
        ({"avoid": [{"text": f"{n}"} for n in range(9)]}, "/avoid"),
        ({"avoid": [{"text": "a"}, {"text": "b", "weight": 2.5}]}, "/avoid/1/weight"),
        ({"toward": [{"text": "a", "weight": -0.1}]}, "/toward/0/weight"),
        ({"avoid": [{"weight": 1}]}, "/avoid/0"),
        ({"image": {"upload": "0" * 32, "strength": 1.1}}, "/image/strength"),
        ({"image": {"strength": 0.5}}, "/image"),
        ({"strength": 0.5}, "/strength"),
        ({"variety": 1.1}, "/variety"),
        ({"variety": 0.5, "rarity": {"ladder": [2, 5]}}, "/variety"),
        ({"avoid": [{"text": " Neon"}], "toward": [{"text": "neon "}]}, "/avoid/0"),
        ({"toward": [{"text": "neon"}, {"text": "NEON"}]}, "/toward/1"),
        ({"mode": "paper", "toward": [{"text": "neon"}]}, "/toward"),
        ({"exposure": ""}, "/exposure"),
        ({"exposure": "  "}, "/exposure"),
        ({"exposure": "x" * 129}, "/exposure"),
        ({"exposure": "line\nbreak"}, "/exposure"),
        ({"seed": False}, "/seed"),
        ({"seed": -1}, "/seed"),
        ({"seed": 2**64}, "/seed"),
        ({"size": 65}, "/size"),
        ({"size": {"width": 65, "height": 64}}, "/size/width"),
        ({"format": "gif"}, "/format"),
        ({"run_within": 0}, "/run_within"),
        ({"start_within": 0}, "/start_within"),
        ({"metadata": {"a/b~": 1}}, "/metadata/a~1b~0"),
        ({"metadata": {"a": "x" * 600, "b": "x" * 600}}, "/metadata"),
        ({"metadata": {"a": "x" * 1100}}, "/metadata/a"),
        ({"metadata": {"a": "\udfff"}}, "/metadata/a"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_invalid_field_is_named(gateway, change, pointer):
    assert await refusal(gateway, {"concept": "handbag"} | change) == (422, [pointer])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b'{"concept": "cup", "concept": "  "}', ["/concept"]),
        (b'{"concept": "cup", "rarity": {"bits": 4, "bits": 4}}', ["/rarity/bits"]),
        (b'{"concept": "cup", "avoid": [{"text": "a"}, {"text": "b", "text": "c"}]}', ["/avoid/1/text"]),
        (b'{"concept": "cup", "metadata": {"a": "1", "a": "1", "a": "2"}}', ["/metadata/a"]),
        (
            b'{"concept": "cup", "x": ' + b"[" * 800 + b'{"a": 1, "a": 2}' + b"]" * 800 + b"}",
            ["/x" + "/0" * 800 + "/a"],
        ),
    ],
)
async def test_field_that_comes_twice_is_named(gateway, body, pointers):
    assert await refusal(gateway, body) == (422, pointers)


async def test_field_that_comes_twice_in_a_batch_is_named(gateway):
    answer = await gateway.post("/batches", content=b'{"jobs": [{"concept": "a", "concept": "b"}]}', headers=JSON)
    problem = {"pointer": "/jobs/0/concept", "detail": "is there more than once"}
    assert (answer.status_code, answer.json()["errors"]) == (422, [problem])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"concept": "  "}, "has no letter or digit: '  '"),
        ({"concept": "\0"}, "has no letter or digit: '\\x00'"),
        ({"avoid": [{"text": "\u200b"}]}, "has no letter or digit: '\\u200b'"),
        ({"prompt": "a {concept}"}, "has 0 places for the concept, needs one {}"),
        ({"exposure": " "}, "is blank, dots alone or has control characters: ' '"),
        ({"exposure": "line\nbreak"}, "is blank, dots alone or has control characters: 'line\\nbreak'"),
        ({"exposure": ".."}, "is blank, dots alone or has control characters: '..'"),
    ],
)
async def test_refusal_can_be_followed(gateway, change, sentence):
    answer = await gateway.post("/jobs", json={"concept": "cup"} | change)
    assert (answer.status_code, [error["detail"] for error in answer.json()["errors"]]) == (422, [sentence])


async def test_answer_to_ten_thousand_mistakes_is_short(gateway):
    answer = await gateway.post("/jobs", json={"concept": "handbag"} | {f"{n}": 0 for n in range(5000)})
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 50)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"handbag", 400),
        (b"\xff\xfe\xfa", 400),
        (b'{"concept": "x", "guidance_scale": NaN}', 400),
        (b'{"concept": "x", "seed": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 60_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'"' + b"x" * 70_000 + b'"', 413),
    ],
)
async def test_body_that_is_no_request_is_a_client_error(gateway, body, status):
    assert (await refusal(gateway, body))[0] == status


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"seed": 1', "the body is not JSON: Expecting ',' delimiter: line 1 column 11 (char 10)"),
        (b"\xff\xfe\xfa", "the body is not JSON: it is not in UTF-8"),
        (b"[" * 60_000, "the body is nested too deeply"),
        (b"9" * 5000, "the body has a number of too many digits"),
        (b"[-Infinity]", "the body is not JSON: -Infinity is no JSON value"),
    ],
)
async def test_body_that_is_not_json_is_told_why_in_our_words(gateway, body, detail):
    assert (await gateway.post("/jobs", content=body, headers=JSON)).json()["detail"] == detail


async def test_body_in_chunks_is_limited_too(gateway):
    async def chunks():
        for _ in range(100):
            yield b" " * 1024

    answer = await gateway.post("/jobs", content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/content_too_large")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_body_of_another_type_is_refused(gateway, media_type):
    answer = await gateway.post("/jobs", content=b'{"concept": "x"}', headers={"content-type": media_type})
    assert answer.status_code == 415


@pytest.mark.parametrize(("path", "media_type"), [("/jobs", "application/json"), ("/images", "image/png")])
async def test_compressed_body_is_refused_by_its_name(gateway, path, media_type):
    headers = {"content-type": media_type, "content-encoding": "gzip"}
    answer = await gateway.post(path, content=gzip.compress(b'{"concept": "cup"}'), headers=headers)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.json()["detail"] == "Content-Encoding: gzip is not taken"


@pytest.mark.parametrize(("codings", "status"), [(["Identity"], 202), ([""], 202), (["identity", "gzip"], 415)])
async def test_codings_are_one_list_of_what_was_done_to_the_body(gateway, codings, status):
    headers = [("content-type", "application/json"), *(("content-encoding", coding) for coding in codings)]
    answer = await gateway.post("/jobs", content=b'{"concept": "cup"}', headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"concept": ""}, "/concept", "is empty"),
        ({"concept": "x" * 201}, "/concept", "may have 200 characters at most"),
        ({"concept": None}, "/concept", "has to be text"),
        ({"count": 17}, "/count", "has to be 16 or less"),
        ({"count": 0}, "/count", "has to be 1 or more"),
        ({"count": 1.5}, "/count", "has to be a whole number"),
        ({"rarity": {"bits": "10"}}, "/rarity/bits", "has to be a number"),
        ({"rarity": []}, "/rarity", "has to be an object"),
        ({"mode": "quick"}, "/mode", "has to be one of 'calibrated' or 'paper'"),
        ({"space": []}, "/space", "needs 1 at least, has 0"),
        ({"avoid": "red"}, "/avoid", "has to be a list"),
        ({"avoid": [{"text": ""}]}, "/avoid/0/text", "is empty"),
        ({"colour": "red"}, "/colour", "is not known here"),
        ({"size": 65}, "/size", "has to be a multiple of 64"),
        (
            {"size": {"width": 64, "height": 256}},
            "/size/height",
            "is 256, has to be 3 times the other side, 64, at most",
        ),
        ({"image": {"upload": "x"}}, "/image/upload", "has to be the `id` of a picture"),
    ],
)
async def test_what_is_wrong_with_a_field_is_said_in_our_words(gateway, fields, pointer, words):
    answer = await gateway.post("/jobs", json={"concept": "lamp"} | fields)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": pointer, "detail": words}]


async def test_what_is_missing_is_said_in_our_words(gateway):
    missing = (await gateway.post("/jobs", json={})).json()["errors"]
    wait = (await gateway.get(f"/jobs/{'0' * 32}?wait=soon")).json()["errors"]
    assert missing == [{"pointer": "/concept", "detail": "is missing"}]
    assert wait == [{"parameter": "wait", "detail": "has to be a whole number"}]
