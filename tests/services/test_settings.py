"""Settings that cannot work stop the start with a sentence that names the variable and no secret."""

import pytest

from servers import SIGNING_KEY
from services.bounds import MAX_KEEP_S, MAX_RUN_S
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
        ({"s3_endpoint": "https://s3.test/bucket"}, "RAREBIT_S3_ENDPOINT https://s3.test may be followed"),
        ({"s3_public_url": "https://media.test/s3"}, "RAREBIT_S3_PUBLIC_URL https://media.test may be followed"),
        ({"storage": "s3"}, "needs RAREBIT_S3_ENDPOINT, RAREBIT_S3_ACCESS_KEY, RAREBIT_S3_SECRET_KEY"),
        ({"signing_key": "short-secret"}, "RAREBIT_SIGNING_KEY"),
        ({"signing_key": SIGNING_KEY, "redis_url": "http://x"}, "RAREBIT_REDIS_URL begins with none of redis://"),
        ({"signing_key": SIGNING_KEY, "public_url": "nowhere"}, "RAREBIT_PUBLIC_URL"),
        ({"signing_key": SIGNING_KEY, "lease_s": 1}, "RAREBIT_LEASE_S"),
        ({"signing_key": SIGNING_KEY, "safety": ""}, "RAREBIT_SAFETY"),
        ({"signing_key": SIGNING_KEY, "output_ttl_s": MAX_KEEP_S + 1}, "RAREBIT_OUTPUT_TTL_S .* equal to 2592000"),
        ({"signing_key": SIGNING_KEY, "run_limit_s": MAX_RUN_S + 1}, "RAREBIT_RUN_LIMIT_S .* equal to 86400"),
        ({"signing_key": SIGNING_KEY, "cors_origins": ["*"]}, "RAREBIT_CORS_ORIGINS"),
        ({"signing_key": SIGNING_KEY, "cors_origins": ["https://design.test/"]}, "RAREBIT_CORS_ORIGINS"),
        ({"signing_key": SIGNING_KEY, "hosts": ["design.test:8000"]}, "RAREBIT_HOSTS"),
        ({"signing_key": SIGNING_KEY, "hosts": ["https://design.test"]}, "RAREBIT_HOSTS"),
        ({"signing_key": SIGNING_KEY, "models": []}, "RAREBIT_MODELS"),
        ({"signing_key": SIGNING_KEY, "models": ["a:b"]}, "RAREBIT_MODELS"),
        ({"signing_key": SIGNING_KEY, "models": ["a", "b", "a"]}, "RAREBIT_MODELS names a model twice: a, b, a"),
        ({"signing_key": SIGNING_KEY, "model": "mini"}, "RAREBIT_MODEL=mini is none of RAREBIT_MODELS, rarebit: gatew"),
    ],
)
def test_setting_that_cannot_work_is_named(fields, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        Settings.read(**fields)
    assert "short-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"redis_url": "redis://queue:6379/0"},
            "RAREBIT_REDIS_URL has no password, and its host queue is not loopback",
        ),
        ({"redis_url": "rediss://:@10.0.0.7/0"}, "RAREBIT_REDIS_URL has no password, and its host 10.0.0.7"),
        ({"redis_url": "redis://:wJalr/Xut@queue:6379/0"}, "RAREBIT_REDIS_URL has an @ behind its host"),
        ({"redis_url": "redis://:wJalr#Xut@queue:6379/0"}, "RAREBIT_REDIS_URL has an @ behind its host"),
        ({"redis_url": "redis://:foobared@queue/0"}, "RAREBIT_REDIS_URL holds a secret that is an example"),
        (
            {"redis_url": "redis+sentinel://127.0.0.1,watch/0?master=rarebit"},
            "RAREBIT_REDIS_URL has no password, and its host watch is not loopback",
        ),
        (
            {"redis_url": "redis+sentinel://:Lq7-xB2z@watch/0?master=rarebit&sentinel_password=foobared"},
            "RAREBIT_REDIS_URL holds a secret that is an example",
        ),
        ({"signing_key": "k" * 32}, "RAREBIT_SIGNING_KEY holds a secret of 1 different characters, 6 are the least"),
        ({"signing_key": "ChangeMe-to-your-own-key"}, "RAREBIT_SIGNING_KEY holds a secret that is an example"),
        # pragma: allowlist nextline secret
        ({"s3_secret_key": "minioadmin"}, "RAREBIT_S3_SECRET_KEY holds a secret that is an example"),
        # pragma: allowlist nextline secret
        ({"s3_secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, "RAREBIT_S3_SECRET_KEY holds a secret that is"),
        # pragma: allowlist nextline secret
        ({"webhook_secret": "wJalr" * 8}, "RAREBIT_WEBHOOK_SECRET is not whsec_ and 24 to 64 bytes in base64"),
        # pragma: allowlist nextline secret
        ({"webhook_secret": "whsec_" + "QUFB" * 4}, "RAREBIT_WEBHOOK_SECRET is not whsec_ and 24 to 64 bytes"),
        # pragma: allowlist nextline secret
        ({"webhook_secret": "whsec_" + "QUFB" * 30}, "RAREBIT_WEBHOOK_SECRET is not whsec_ and 24 to 64 bytes"),
        # pragma: allowlist nextline secret
        ({"webhook_secret": "whsec_" + "QUFB" * 10}, "RAREBIT_WEBHOOK_SECRET holds a secret of 4 different characters"),
        # pragma: allowlist nextline secret
        ({"webhook_secret": "whsec_" + "wJalr*" * 6}, "RAREBIT_WEBHOOK_SECRET is not whsec_"),
        ({"webhook_networks": ["10.0.0.1/8"]}, "RAREBIT_WEBHOOK_NETWORKS value is not a valid"),
        ({"lease_s": 31, "run_limit_s": 61}, "RAREBIT_LEASE_S=31 is more than half of RAREBIT_RUN_LIMIT_S=61"),
    ],
)
def test_unsafe_setting_is_named_in_one_sentence_without_the_secret(fields, sentence):
    with pytest.raises(SettingsError, match=f"^{sentence}") as caught:
        Settings.read(**({"signing_key": SIGNING_KEY} | fields))
    assert not any(secret in str(caught.value) for secret in ("k" * 32, "to-your-own-key", "wJalr", "QUFB"))


@pytest.mark.parametrize(
    "redis_url",
    [
        "redis://localhost/0",
        "redis://127.0.0.9/0",
        "redis://[::1]:6379/0",
        "unix:///tmp/v.sock",
        "redis://:Lq7-xB2z@queue/0",
        "rediss://rarebit:Lq7-xB2z@queue/0",  # pragma: allowlist secret
        "rediss+sentinel://rarebit:Lq7-xB2z@one:26379,two:26379/0?master=rarebit",  # pragma: allowlist secret
    ],
)
def test_redis_that_only_this_machine_or_a_password_reaches_is_taken(redis_url):
    assert Settings.read(signing_key=SIGNING_KEY, redis_url=redis_url, lease_s=30, run_limit_s=60)


@pytest.mark.parametrize(
    ("public_url", "warnings"),
    [("http://design.test", 1), ("https://design.test", 0), ("http://127.0.0.1:8000", 0), ("http://[::1]:8000", 0)],
)
def test_pictures_sent_unencrypted_over_a_network_are_a_warning(public_url, warnings, caplog):
    caplog.set_level("WARNING")
    Settings.read(signing_key=SIGNING_KEY, public_url=public_url, auth="keys")
    assert [public_url in record.getMessage() for record in caplog.records] == [True] * warnings


def test_environment_that_cannot_be_parsed_is_named(monkeypatch):
    monkeypatch.setenv("RAREBIT_PRELOAD", "handbag, chair")
    with pytest.raises(SettingsError, match="preload"):
        Settings.read(signing_key=SIGNING_KEY)


def test_no_secret_is_shown():
    secrets = {"signing_key": "the-signing-key-of-ours", "s3_secret_key": "the-secret"}  # pragma: allowlist secret
    settings = Settings(redis_url="redis://:the-password-of-Redis@localhost", **secrets)
    assert "the-" not in repr(settings)


@pytest.mark.parametrize(
    ("models", "model", "served", "adopts"),
    [
        (["rarebit"], None, "rarebit", False),
        (["mini", "rarebit"], None, "mini", False),
        (["mini", "large"], None, "mini", True),
        (["mini", "large"], "large", "large", False),
    ],
)
def test_worker_serves_the_default_unless_it_is_told(models, model, served, adopts):
    settings = Settings(signing_key=SIGNING_KEY, models=models, model=model)
    assert (settings.served_model, settings.adopts_unnamed) == (served, adopts)
