"""The alerts are Prometheus' own, fire when they should, and ask for what gateways tell."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from services.jobs.record import Metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
DASHBOARD = json.loads((ROOT / "deploy/prometheus/dashboards/rarebit.json").read_text())
CASES = sorted((Path(__file__).parent / "alerts").glob("*.yml"))
RULE_LIST = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


@pytest.fixture
def promtool():
    """Runs it; what it says, which is nothing to object to."""
    if (binary := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool, which .ci/run installs where it can")

    def run(*words, text=None):
        ended = subprocess.run([binary, *words], input=text, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return run


def test_rules_are_valid(promtool):
    assert f"{len(RULE_LIST)} rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alert_fires_when_it_should_and_is_silent_when_it_should(promtool, case):
    promtool("test", "rules", str(case))


def test_each_alert_has_cases_where_it_fires_and_where_it_is_silent():
    assert [case.stem for case in CASES] == sorted(rule["alert"] for rule in RULE_LIST)
    for case in CASES:
        tests = [test for each in yaml.safe_load(case.read_text())["tests"] for test in each["alert_rule_test"]]
        assert {test["alertname"] for test in tests} == {case.stem}
        assert {bool(test["exp_alerts"]) for test in tests} == {True, False}


def shown():
    """What the dashboard asks Prometheus for, as Grafana sends it."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [expr.replace("$namespace", ".*").replace("$__rate_interval", "1m") for expr in asked]


def test_alerts_and_dashboard_ask_for_metrics_of_the_table_for_operators():
    told = set(re.findall(r"^\| `(rarebit_\w+)`", (ROOT / "docs/operating.md").read_text(), re.MULTILINE))
    asked = set(re.findall(r"rarebit_\w+", " ".join([*shown(), *(rule["expr"] for rule in RULE_LIST)])))
    assert {name.removesuffix("_bucket") for name in asked} <= told
    assert told <= {name.removesuffix("_bucket") for expr in shown() for name in re.findall(r"rarebit_\w+", expr)}


def test_dashboard_asks_in_prometheus_language(promtool, tmp_path):
    rules = [{"record": f"shown:{i}", "expr": expr} for i, expr in enumerate(shown())]
    (tmp_path / "shown.yml").write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "shown.yml"))


def test_prometheus_takes_what_compose_gives_it(promtool):
    promtool("check", "config", "--syntax-only", str(ROOT / "deploy/prometheus/prometheus.yml"))


async def test_metrics_are_as_prometheus_has_them_before_and_after_jobs(promtool, gateway, leases):
    assert promtool("check", "metrics", text=(await gateway.get("/metrics")).text) == ""
    for _ in range(2):
        await gateway.post("/jobs", json={"concept": "lamp"})
        leases.succeed(leases.claim(), [], [], Metrics())
    text = (await gateway.get("/metrics")).text
    assert 'rarebit_job_seconds{model="rarebit",quantile="0.5"}' in text
    assert promtool("check", "metrics", text=text) == ""
