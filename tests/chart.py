"""The Helm chart as Helm renders it."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy/helm/rarebit"
CASES = sorted((ROOT / "tests/deploy/helm/values").glob("*.yaml"))
EMBEDDED = ROOT / "tests/deploy/helm/values/embedded.yaml"


def helm(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """What it says; .ci/helm.py puts it beside this Python where it can."""
    if (binary := shutil.which(Path(sys.executable).with_name("helm")) or shutil.which("helm")) is None:
        pytest.skip("there is no helm, which make installs where it can")
    return subprocess.run([binary, *words], input=text, capture_output=True, text=True, check=False)


@cache
def rendered(case: Path) -> tuple[dict[str, Any], ...]:
    """What the release `rb` in the namespace `design` has of the values."""
    ended = helm("template", "rb", str(CHART), "--namespace", "design", "--values", str(case))
    assert ended.returncode == 0, ended.stderr
    return tuple(resource for resource in yaml.safe_load_all(ended.stdout) if resource)


def of_kind(case: Path, kind: str) -> list[dict[str, Any]]:
    return [resource for resource in rendered(case) if resource["kind"] == kind]


def pods(case: Path) -> list[dict[str, Any]]:
    """The specification of each pod."""
    made = [resource["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for resource in of_kind(case, kind)]
    return made + [resource["spec"] for resource in of_kind(case, "Pod")]


def containers(case: Path) -> list[dict[str, Any]]:
    return [one for pod in pods(case) for one in pod["containers"] + pod.get("initContainers", [])]
