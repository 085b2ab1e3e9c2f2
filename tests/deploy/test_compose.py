"""docker-compose.yml is Compose's, and gives the processes settings that they start with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.settings import Settings

FILE = Path(__file__).parents[2] / "docker-compose.yml"
# pragma: allowlist nextline secret
SECRETS = {"RAREBIT_S3_SECRET_KEY": "0123456789abcdef" * 4, "RAREBIT_REDIS_PASSWORD": "fedcba9876543210" * 4}


def interpolated(text: str) -> str:
    """The text as compose reads it, with secrets of our own in the environment."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda match: SECRETS.get(match[1], match[3]), text)


@pytest.mark.parametrize("profile", [[], ["--profile", "gpu"]], ids=["CPU", "GPU"])
def test_compose_has_nothing_to_object_to(profile):
    if (
        binary := shutil.which(Path(sys.executable).with_name("docker-compose")) or shutil.which("docker-compose")
    ) is None:
        pytest.skip("there is no docker-compose for this machine")
    command = [binary, "--file", str(FILE), *profile, "config", "--quiet"]
    ended = subprocess.run(command, env=os.environ | SECRETS, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("service", ["gateway", "worker", "worker-gpu", "operator-key"])
def test_processes_take_what_compose_gives_them(service, monkeypatch):
    services = yaml.safe_load(interpolated(FILE.read_text()))["services"]
    for name, value in services[service]["environment"].items():
        if value is not None:  # what compose takes from our own environment
            monkeypatch.setenv(name, value)
    settings = Settings.read()
    assert f"rarebit:{services['queue']['environment']['REDISCLI_AUTH']}@queue" in settings.redis_url
    assert settings.s3_secret_key.get_secret_value() == services["store"]["environment"]["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret in " ".join(services["queue"]["command"]) for secret in SECRETS.values())


def test_what_the_public_reaches_is_reached_from_this_machine_alone():
    services = yaml.safe_load(interpolated(FILE.read_text()))["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
