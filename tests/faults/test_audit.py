"""The reader that the other tests believe sees what is amiss."""

import json

import pytest
import redis

from tests.faults.audit import audit

OBJECTS = {"jobs/a/1/0.png", "jobs/a/1/0.safetensors"}
SUCCEEDED = {
    "id": "a",
    "status": "succeeded",
    "attempt": "1",
    "request": json.dumps({"count": 1}),
    "result": json.dumps({"outputs": [{"key": "jobs/a/1/0.png"}]}),
}
WHOLE = {"record": SUCCEEDED, "objects": OBJECTS, "acknowledged": ["a"], "published": ["a"]}


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, {}),
        ({"acknowledged": ["a", "b"]}, {"lost": 1}),
        ({"acknowledged": []}, {"uninvited": 1}),
        ({"record": SUCCEEDED | {"status": "canceling", "result": "{}"}, "objects": set()}, {"stuck": 1}),
        ({"published": ["a", "a"]}, {"duplicates": 1}),
        ({"record": SUCCEEDED | {"request": json.dumps({"count": 2})}}, {"duplicates": 1}),
        ({"objects": OBJECTS | {"jobs/a/2/0.png"}}, {"unnamed": 1}),
        ({"objects": {"jobs/a/1/0.png"}}, {"missing": 1}),
    ],
)
def test_audit_counts_what_is_amiss(redis_url, change, faults):
    case = WHOLE | change
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{rarebit}:job:a", mapping=case["record"])
    assert audit(redis_url, case["objects"], case["acknowledged"], case["published"]).faults == faults
