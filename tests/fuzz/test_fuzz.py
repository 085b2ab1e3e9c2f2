"""A short `make fuzz`: whatever is sent, the gateway answers as documented, logs no error and does not grow."""

from collections.abc import Iterator

import pytest

from tests.fuzz.__main__ import attack
from tests.fuzz.attacked import Gateway, attacked


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with attacked() as gateway:
        yield gateway


def test_hostile_input_is_answered_as_documented(gateway, capsys):
    findings = attack(gateway, examples=5, requests=1200, pictures=300, seed=2)
    said = capsys.readouterr().out
    print(*findings, sep="\n")  # in full, which an assertion would cut
    assert findings == []
    for status in (200, 202, 204, 400, 404, 405, 413, 415, 422):  # it came through to what is behind the checks
        assert f"× {status}" in said
