"""Settings that cannot work stop the start with a sentence that names the variable and no secret."""

import pytest

from services.errors import SettingsError
from services.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RAREBIT_{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "needs RAREBIT_SIGNING_KEY"),
        ({"storage": "s3"}, "needs RAREBIT_S3_ENDPOINT, RAREBIT_S3_ACCESS_KEY, RAREBIT_S3_SECRET_KEY"),
        ({"signing_key": "short-secret"}, "RAREBIT_SIGNING_KEY"),
        ({"signing_key": "k" * 32, "redis_url": "http://x"}, "RAREBIT_REDIS_URL begins with none of redis://"),
        ({"signing_key": "k" * 32, "public_url": "nowhere"}, "RAREBIT_PUBLIC_URL"),
        ({"signing_key": "k" * 32, "lease_s": 1}, "RAREBIT_LEASE_S"),
    ],
)
def test_setting_that_cannot_work_is_named(fields, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        Settings.read(**fields)
    assert "short-secret" not in str(caught.value)


def test_environment_that_cannot_be_parsed_is_named(monkeypatch):
    monkeypatch.setenv("RAREBIT_PRELOAD", "handbag, chair")
    with pytest.raises(SettingsError, match="preload"):
        Settings.read(signing_key="k" * 32)


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("unix:///tmp/v.sock?db=3", "redis+socket:///tmp/v.sock?virtual_host=3"),
        ("unix:///tmp/v.sock", "redis+socket:///tmp/v.sock?virtual_host=0"),
    ],
)
def test_celery_gets_the_same_database(redis_url, broker_url):
    assert Settings(signing_key="k" * 32, redis_url=redis_url).broker_url == broker_url


def test_no_secret_is_shown():
    settings = Settings(signing_key="the-signing-key-of-ours", s3_secret_key="the-secret")
    assert "the-" not in repr(settings)
