"""KEDA is told of work by the gateways' figures, and the alerts of the chart are of its own namespace."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chart import CASES, of_kind

H100, TWO_POOLS, TWO_MODELS = (
    next(case for case in CASES if case.stem == name) for name in ("h100", "two-pools", "two-models")
)
OURS, OTHERS = 'namespace="design"', 'namespace="staging"'


@pytest.fixture
def promtool(tmp_path):
    """Runs it on a file with this content."""
    if (binary := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool, which .ci/run installs where it can")

    def run(*words, content):
        (file := Path(tmp_path / "file.yml")).write_text(yaml.safe_dump(content))
        ended = subprocess.run([binary, *words, str(file)], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    return run


def trigger(case, pool=""):
    [scaled] = [one for one in of_kind(case, "ScaledObject") if one["metadata"]["name"].endswith(pool)]
    [trigger] = scaled["spec"]["triggers"]
    return trigger["metadata"]


def series(model="rarebit", **values):
    """Figures of two gateways here, which tell the same of the model, and of a busier service elsewhere."""
    here = [f'{{{OURS}, pod="{pod}", model="{model}"' for pod in ("a", "b")]
    told = {"waiting": "rarebit_jobs_waiting", "running": "rarebit_jobs_running", "p50": "rarebit_job_seconds"}
    labels = {"waiting": ', priority="low"}', "running": "}", "p50": ', quantile="0.5"}'}
    given = [
        {"series": f"{told[name]}{pod}{labels[name]}", "values": str(value)}
        for name, value in values.items()
        for pod in here
    ]
    elsewhere = [
        {"series": f'{told[name]}{{{OTHERS}, model="{model}"{labels[name].replace("}", "")}}}', "values": "999"}
        for name in told
    ]
    return given + elsewhere


@pytest.mark.parametrize(
    ("case", "figures", "work"),
    [
        (H100, {"waiting": 10, "running": 2, "p50": 30}, 10 * 30 / 60 + 2),
        (H100, {"waiting": 10, "running": 2}, 12),  # before anything was measured
        (H100, {"waiting": 0, "running": 0, "p50": 30}, 0),
        (H100, {"waiting": 1, "running": 0, "p50": 6}, 0.1),  # more than none: KEDA starts the first worker
        (TWO_POOLS, {"waiting": 10, "running": 4, "p50": 60}, 10),  # two workers of the other pool do four jobs
        (TWO_POOLS, {"waiting": 0, "running": 1, "p50": 60}, 0),
    ],
)
def test_work_is_what_runs_and_what_has_to_start_in_time(promtool, case, figures, work):
    test = {"expr": trigger(case)["query"], "eval_time": "0s", "exp_samples": [{"labels": "{}", "value": work}]}
    promtool("test", "rules", content={"tests": [{"input_series": series(**figures), "promql_expr_test": [test]}]})


@pytest.mark.parametrize(("pool", "work"), [("h100", 7), ("more", 1)])
def test_work_of_a_model_is_that_of_its_jobs_alone(promtool, pool, work):
    """Another worker of the small model does one of its two."""
    given = series("large", waiting=4, running=3, p50=60) + series("mini", waiting=0, running=2, p50=60)
    test = {
        "expr": trigger(TWO_MODELS, pool)["query"],
        "eval_time": "0s",
        "exp_samples": [{"labels": "{}", "value": work}],
    }
    distinct = [*{one["series"]: one for one in given}.values()]
    promtool("test", "rules", content={"tests": [{"input_series": distinct, "promql_expr_test": [test]}]})


def test_processes_know_all_models_and_each_worker_its_own():
    def told(deployment):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        settings = {one["name"]: one.get("value") for one in container["env"]}
        return settings["RAREBIT_MODELS"], settings.get("RAREBIT_MODEL")

    found = {one["metadata"]["name"].rpartition("-")[2]: told(one) for one in of_kind(TWO_MODELS, "Deployment")}
    models = '["mini","large"]'
    assert found == {
        "gateway": (models, None),
        "cpu": (models, "mini"),
        "more": (models, "mini"),
        "h100": (models, "large"),
    }


def test_without_figures_there_is_no_work_to_tell_of(promtool):
    """Redis is away: KEDA keeps the workers that there are, and is not told that there is nothing to do."""
    assert trigger(H100)["ignoreNullValues"] == "false"
    test = {"expr": trigger(H100)["query"], "eval_time": "0s", "exp_samples": []}
    promtool("test", "rules", content={"tests": [{"input_series": series(), "promql_expr_test": [test]}]})


def test_who_scales_a_deployment_is_the_one_who_says_how_many():
    """An upgrade would set it back."""
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(TWO_POOLS, "ScaledObject")]
    scaled += [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(TWO_POOLS, "HorizontalPodAutoscaler")]
    fixed = [one["metadata"]["name"] for one in of_kind(TWO_POOLS, "Deployment") if "replicas" in one["spec"]]
    assert sorted(scaled) == ["rb-rarebit-gateway", "rb-rarebit-worker-spot"]
    assert fixed == ["rb-rarebit-worker-h100"]


@pytest.mark.parametrize("case", [H100, TWO_POOLS, TWO_MODELS], ids=["to zero", "not to zero", "one model to zero"])
def test_alerts_are_prometheus_and_of_the_own_namespace(promtool, case):
    [resource] = of_kind(case, "PrometheusRule")
    promtool("check", "rules", content=resource["spec"])
    rules = [rule for group in resource["spec"]["groups"] for rule in group["rules"]]
    assert all(OURS in rule["expr"] for rule in rules)
    [monitor] = of_kind(case, "PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"action": "replace", "targetLabel": "job", "replacement": "rarebit"}]
    silenced = {"RarebitNoWorkers"} - {rule["alert"] for rule in rules}
    assert bool(silenced) == (case is H100)
    [patience] = [rule["for"] for rule in rules if rule["alert"] == "RarebitPoolUnserved"]
    assert patience == ("5m" if case is TWO_POOLS else "20m")
