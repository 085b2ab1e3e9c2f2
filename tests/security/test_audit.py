"""The dependency audit fails for a vulnerability, and never passes for an audit that did not happen."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parents[2] / ".ci/audit.py")
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

SAFE = {"name": "redis", "version": "8.1.0", "vulns": []}
UNSAFE = {"name": "pillow", "version": "10.0.0", "vulns": [{"id": "PYSEC-2023-175", "fix_versions": ["10.0.1"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "sentence", "code"),
    [
        ([SAFE, UNSAFE, UNKNOWN], "pillow 10.0.0: PYSEC-2023-175", 1),
        ([SAFE, UNKNOWN], "1 packages without known vulnerabilities; not audited: torch", 0),
        ([UNKNOWN, UNKNOWN], "NOT AUDITED: the package index has no advisories for any of 2 packages", 0),
        ([], "NOT AUDITED: the package index has no advisories for any of 0 packages", 0),
    ],
)
def test_verdict(packages, sentence, code):
    assert audit.verdict(packages) == (sentence, code)
