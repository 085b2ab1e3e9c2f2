"""Kubernetes takes what the chart makes of values, and the processes take the settings that it gives them."""

import json
import re
from contextlib import suppress

import kubernetes_validate
import pytest
import yaml

from chart import CASES, CHART, EMBEDDED, ROOT, containers, helm, of_kind, pods, rendered
from servers import SIGNING_KEY
from services.settings import Settings

OPERATORS = {"ScaledObject", "PodMonitor", "PrometheusRule"}
SECRETS = {
    "RAREBIT_REDIS_URL": f"rediss://rarebit:{SIGNING_KEY.replace(' ', '')}@redis.example:6379/0",
    "RAREBIT_S3_ACCESS_KEY": "rarebit",
    "RAREBIT_S3_SECRET_KEY": SIGNING_KEY,
    "RAREBIT_SIGNING_KEY": SIGNING_KEY,
    "RAREBIT_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # pragma: allowlist secret
}
AUTH = "RAREBIT_AUTH"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"  # a collector's key
OTEL = {HEADERS, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
OF_THE_IMAGE = {"health_file"}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)


def test_helm_finds_nothing_to_object_to():
    ended = helm("lint", "--strict", "--quiet", str(CHART), "--values", str(EMBEDDED))
    assert ended.returncode == 0, ended.stdout


def test_kubernetes_takes_every_resource_as_it_is():
    different = {json.dumps(resource): resource for case in CASES for resource in rendered(case)}
    for resource in different.values():
        if resource["kind"] not in {*OPERATORS, "HTTPRoute"}:
            kubernetes_validate.validate(resource, "1.37", strict=True)


@pytest.fixture(scope="module")
def models():
    """KEDA's and the Prometheus operator's, which take seconds to import: by whoever runs these tests alone."""
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

    return {"ScaledObject": ScaledObject, "PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}


@each_case
def test_operators_know_every_field_of_theirs(case, models):
    for resource in rendered(case):
        if model := models.get(resource["kind"]):
            known = model.model_validate(resource).model_dump(by_alias=True, exclude_unset=True, mode="json")
            with suppress(KeyError):
                known["spec"]["fallback"]["behavior"] = "currentReplicasIfHigher"  # KEDA 2.17's; the models are older
            assert known == resource


@each_case
def test_pods_keep_to_the_restricted_standard_and_say_what_they_need(case):
    for pod in pods(case):
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    for one in containers(case):
        security = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["securityContext"] == security
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
        assert "memory" in one["resources"]["limits"]


@each_case
def test_secrets_come_from_secrets_alone(case):
    assert of_kind(case, "Secret") == []
    for variable in (variable for one in containers(case) for variable in one.get("env", [])):
        is_secret = variable["name"] in {*SECRETS, "RAREBIT_API_KEY", "HF_TOKEN", HEADERS}
        assert is_secret == ("valueFrom" in variable), variable


@each_case
def test_nobody_reaches_workers_and_without_keys_nobody_unnamed_reaches_gateways(case):
    everybody, gateways = of_kind(case, "NetworkPolicy") or [None, None]
    if case.stem == "open-network":
        assert everybody is gateways is None
        return
    assert everybody["spec"].keys() == {"podSelector", "policyTypes", "egress"}
    assert "Ingress" in everybody["spec"]["policyTypes"]
    [rule] = gateways["spec"]["ingress"]
    [auth] = {variable["value"] for one in containers(case) for variable in one["env"] if variable["name"] == AUTH}
    assert ("from" in rule) == (auth != "keys")


@each_case
def test_processes_take_the_settings_that_they_are_given(case, monkeypatch):
    for one in containers(case):
        if one["name"] in {"gateway", "worker"}:
            with monkeypatch.context() as environment:
                environment.delenv("RAREBIT_DECODER")
                for variable in one["env"]:
                    environment.setenv(variable["name"], variable.get("value") or SECRETS.get(variable["name"], "none"))
                Settings.read()


def test_every_setting_has_a_value_and_every_value_that_is_one_a_setting():
    given = {variable["name"] for case in CASES for one in containers(case) for variable in one.get("env", [])}
    settings = {f"RAREBIT_{name.upper()}" for name in Settings.model_fields.keys() - OF_THE_IMAGE}
    assert settings <= given
    assert given - settings == {"RAREBIT_URL", "RAREBIT_API_KEY", "HF_TOKEN", "OMP_NUM_THREADS", *OTEL}


def described(schema, values, where="values"):
    """The names of all values, each of which the schema describes, and no other."""
    assert schema.get("description"), f"{where} is not described"
    for name, part in schema.get("properties", {}).items():
        if where != "values" or name not in {"poolDefaults", "global"}:
            described(part, values[name], f"{where}.{name}")
    if schema.get("additionalProperties") is False:
        assert values.keys() == schema["properties"].keys() - {"global"}, where


def test_every_value_is_described():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    described(schema, values)
    described(schema["$defs"]["pool"], values["poolDefaults"], "poolDefaults")


def test_worker_starts_as_long_as_its_weights_take_and_no_longer():
    """Five minutes, 20 s for each of 13 GB, five minutes for each of two densities."""
    h100 = next(case for case in CASES if case.stem == "h100")
    worker = next(one for one in containers(h100) if one["name"] == "worker")
    probe = worker["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 300 + 13 * 20 + 2 * 300
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_files_of_the_chart_are_those_that_compose_uses():
    assert (CHART / "files").resolve() == ROOT / "deploy/prometheus"


def test_manifests_of_the_page_are_what_kubernetes_takes(tmp_path):
    """Its values, too: those of the first look, and the same with the pool, the scaling and the models that follow."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    first, pool, models, manifest, scaling = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    kubernetes_validate.validate(manifest, "1.37", strict=True)
    scaled = {"pools": {"h100": pool["pools"]["h100"] | scaling}}
    for number, (changes, workers) in enumerate([(first, 1), (scaled, 1), (models, 2)]):
        (case := tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(first | changes))
        assert len(of_kind(case, "Deployment")) == 1 + workers
