"""Schemathesis over the document that the gateway serves: requests that keep to it, and requests that almost do."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.attacked import Gateway

CONFIG = Path(__file__).with_name("schemathesis.toml")


@dataclass(frozen=True)
class Outcome:
    """How many requests were made, and what schemathesis found wrong, in its own words; None when nothing."""

    requests: int
    findings: str | None


def check_contract(gateway: Gateway, examples: int, seed: int) -> Outcome:
    """About `examples` requests for every operation, besides those that each of its parameters asks for."""
    report = gateway.folder / "schemathesis.json"
    options = ["--max-examples", examples, "--seed", seed, "--continue-on-failure", "--no-color"]
    options += ["--generation-database", "none", "--report", "json", "--report-json-path", report]
    program = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"]
    command = [str(word) for word in [*program, f"{gateway.url}/openapi.json", *options]]
    env = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    ended = subprocess.run(command, env=env, cwd=gateway.folder, text=True, stdout=subprocess.PIPE, check=False)
    requests = json.loads(report.read_text())["test_cases"]["generated"]
    return Outcome(requests, ended.stdout if ended.returncode else None)
