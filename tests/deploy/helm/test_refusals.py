"""Values that would not work, or would cost somebody a night, end the installation with a sentence that names them."""

import pytest
import yaml

from chart import CHART, EMBEDDED, helm

HUB = {"prior": "owner/prior@0123"}  # pragma: allowlist secret
ADDRESS = {"keda": {"enabled": True, "prometheus": "http://prometheus:9090"}}


def merged(values, changes):
    """As Helm merges a second file of values."""
    both = values | changes
    return both | {
        name: merged(values[name], change)
        for name, change in changes.items()
        if isinstance(change, dict) and isinstance(values.get(name), dict)
    }


def refusal(changes, tmp_path):
    """What is said of the least values with these changes."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(merged(yaml.safe_load(EMBEDDED.read_text()), changes)))
    ended = helm("template", "rb", str(CHART), "--values", str(tmp_path / "values.yaml"))
    assert ended.returncode != 0
    return ended.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"publicUrl": ""}, "publicUrl is empty"),
        ({"images": {"registry": ""}}, "images.registry is empty"),
        ({"auth": "off"}, "auth is off and publicUrl is at design.example: everybody there could read and erase all"),
        ({"auth": "off", "publicUrl": "http://127.0.0.1", "networkPolicy": {"enabled": False}}, "auth is off and netw"),
        ({"auth": "proxy"}, "auth is proxy and networkPolicy.from is empty"),
        ({"publicUrl": "http://localhost:8000", "ingress": {"enabled": True}}, "publicUrl is at localhost, where neit"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty"),
        ({"redis": {"secret": {"name": ""}}}, "redis.secret.name is empty"),
        ({"defaultModel": "large"}, "defaultModel is large, which no pool's model.name is: rarebit"),
        ({"storage": {"s3": {"endpoint": ""}}}, "storage.s3.endpoint is empty"),
        ({"storage": {"s3": {"endpoint": "s3.example"}}}, "storage.s3.endpoint is s3.example: it has to be http"),
        ({"storage": {"s3": {"publicUrl": "https://a.example/b"}}}, "storage.s3.publicUrl is https://a.example/b"),
        ({"storage": {"s3": {"secret": {"name": ""}}}}, "storage.s3.secret.name is empty"),
        ({"storage": {"type": "local"}}, "storage.type is local and storage.local.claim is empty"),
        ({"storage": {"type": "local", "local": {"claim": "data"}}}, "storage.local.secret.name is empty"),
        ({"fit": {"concepts": ["lamp"]}}, "apiKey.secret.name is empty"),
        ({"monitoring": {"podMonitor": True}}, "apiKey.secret.name is empty"),
        ({"gateway": {"replicas": 9}}, "gateway.autoscaling.maxReplicas is 6, less than gateway.replicas, 9"),
        ({"pools": None}, "pools is empty"),
        (
            {"pools": {"gpu": {"model": {"dtype": "float16"}}}},
            "pools.gpu.model differs from pools.cpu.model, and both a",
        ),
        (
            {"shutdownGraceSeconds": 60},
            "pools.cpu.terminationGracePeriodSeconds is 120: shutdownGraceSeconds, a step, ",
        ),
        ({"poolDefaults": {"gpu": {"resource": "nvidia.com/gpu"}}}, "pools.cpu.image is worker-cpu: use worker-cuda"),
        ({"poolDefaults": {"model": HUB}}, "pools.cpu.weights.source is baked and its model names owner/prior@0123"),
        (
            {"poolDefaults": {"weights": {"source": "pull"}}},
            "pools.cpu.weights.source is pull and its model names noth",
        ),
        ({"poolDefaults": {"weights": {"source": "claim"}}}, "pools.cpu.weights.claim is empty"),
        ({"poolDefaults": {"weights": {"claim": "w"}}}, "pools.cpu.weights.claim is w and source is baked"),
        ({"poolDefaults": {"weights": {"source": "image"}}}, "pools.cpu.weights.image is empty"),
        ({"poolDefaults": {"model": HUB, "weights": {"source": "pull"}}}, "pools.cpu.weights.gigabytes is 0"),
        ({"poolDefaults": {"keda": {"enabled": True}}}, "pools.cpu.keda.prometheus is empty"),
        ({"poolDefaults": merged(ADDRESS, {"keda": {"minReplicas": 9}})}, "pools.cpu.keda.maxReplicas is 4, less than"),
        ({"poolDefaults": ADDRESS, "pools": {"more": {}}}, "keda.enabled is true in pools.cpu and pools.more: pools o"),
        ({"pool": {}}, "pool' not allowed"),
        ({"pools": {"cpu": {"replica": 2}}}, "'replica' not allowed"),
        ({"settings": {"RAREBIT_REDIS_URL": "redis://:secret@redis"}}, "RAREBIT_REDIS_URL"),  # pragma: allowlist secret
        ({"pools": {"cpu": {"settings": {"RAREBIT_DENSITY_SAMPLES": 500}}}}, "RAREBIT_DENSITY_SAMPLES"),
        ({"auth": "none"}, "'/auth': value must be one of"),
        ({"hosts": ["gateway:8000"]}, "/hosts/0': 'gateway:8000' does not match pattern"),
        ({"corsOrigins": ["https://app.example/"]}, "/corsOrigins/0': 'https://app.example/' does not match"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(changes, sentence, tmp_path):
    assert sentence in refusal(changes, tmp_path)
