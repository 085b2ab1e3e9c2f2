"""docker-compose.yml gives the processes settings that they start with."""

import re
from pathlib import Path

import pytest
import yaml

from services.settings import Settings

FILE = Path(__file__).parents[2] / "docker-compose.yml"
# pragma: allowlist nextline secret
SECRETS = {"RAREBIT_SIGNING_KEY": "0123456789abcdef" * 4, "RAREBIT_REDIS_PASSWORD": "fedcba9876543210" * 4}


def interpolated(text: str) -> str:
    """The text as compose reads it, with secrets of our own in the environment."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda match: SECRETS.get(match[1], match[3]), text)


@pytest.mark.parametrize("service", ["gateway", "worker"])
def test_processes_take_what_compose_gives_them(service, monkeypatch):
    services = yaml.safe_load(interpolated(FILE.read_text()))["services"]
    for name, value in services[service]["environment"].items():
        if value is not None:  # what compose takes from our own environment
            monkeypatch.setenv(name, value)
    settings = Settings.read()
    assert f"rarebit:{services['queue']['environment']['REDISCLI_AUTH']}@queue" in settings.redis_url
    assert not any(secret in " ".join(services["queue"]["command"]) for secret in SECRETS.values())
