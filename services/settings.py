"""Every environment variable (prefix RAREBIT_); read only in api/main.py, worker/app.py and deploy/local."""

import base64
import binascii
import ipaddress
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    HttpUrl,
    IPvAnyNetwork,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariableError

from services import redis_url
from services.bounds import DEFAULT_MODEL, MAX_KEEP_S, MAX_RUN_S, MIN_DENSITY_SAMPLES, MODEL_NAME, Bounds
from services.errors import SettingsError

_EXAMPLES = ("changeme", "change-me", "change_me", "example", "foobared", "minioadmin", "password")
_DISTINCT = 6  # characters that a secret needs; sixteen random hexadecimal digits have fewer once in 30,000 draws
logger = logging.getLogger(__name__)

Seconds = Annotated[int, Field(ge=1)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME)]
Origin = Annotated[str, Field(pattern=r"^https?://[^/*]+$")]  # as browsers write it: without a path
Host = Annotated[str, Field(pattern=r"^([^/:\[\]]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$")]  # without a port


class Settings(BaseSettings):
    """The service's configuration; `Settings.read()` turns what is wrong with it into one sentence."""

    model_config = SettingsConfigDict(env_prefix="RAREBIT_", frozen=True)

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    public_url: str = "http://127.0.0.1:8000"
    hosts: list[Host] = []
    cors_origins: list[Origin] = []
    body_limit_bytes: int = Field(default=64 * 1024, ge=1024)
    picture_limit_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    wait_limit_s: Seconds = Field(default=50, le=3600)  # proxies give up after a minute, as they come
    max_queued: int = Field(default=1000, ge=1)
    log: Literal["text", "json"] = "text"
    auth: Literal["off", "keys", "proxy"] = "off"

    models: list[ModelName] = Field(default=[DEFAULT_MODEL], min_length=1, max_length=32)  # the first is the default
    model: ModelName | None = None  # what a worker serves of them; None is the default

    webhook_secret: SecretStr | None = None
    webhook_networks: list[IPvAnyNetwork] = []

    storage: Literal["local", "s3"] = "local"
    data_dir: Path = Path("data")
    signing_key: SecretStr | None = Field(default=None, min_length=16)
    s3_endpoint: str | None = None
    s3_public_url: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_bucket: str = Field(default="rarebit", min_length=3, max_length=63)
    s3_region: str = "us-east-1"
    url_ttl_s: Seconds = Field(default=3600, le=7 * 86400)  # S3 signs for a week at most
    output_ttl_s: Seconds = Field(default=7 * 86400, le=MAX_KEEP_S)
    exposure_ttl_s: Seconds = Bounds.exposure_ttl_s
    exposures_kept: int = Field(default=Bounds.exposures, ge=1)

    prior: str | None = Field(default=None, min_length=1)  # of these three, None is the embedded checkpoint's
    decoder: str | None = Field(default=None, min_length=1)
    scorer: str | None = Field(default=None, min_length=1)
    safety: str | None = Field(default=None, min_length=1)
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    preload: list[str] = []
    density_samples: int = Field(default=5000, ge=MIN_DENSITY_SAMPLES, le=100_000)
    density_cache: int = Field(default=64, ge=1)
    densities_kept: int = Field(default=Bounds.densities, ge=1)
    trials_at_once: int = Field(default=64, ge=1, le=1024)
    share_wait_ms: int | None = Field(default=None, ge=0, le=1000)
    run_limit_s: Seconds = Field(default=1800, le=MAX_RUN_S)
    lease_s: int = Field(default=30, ge=2)
    shutdown_grace_s: int = Field(default=10, ge=0, le=3600)
    health_file: Path | None = None

    @property
    def prefix(self) -> str:
        """The path of the public URL, "" or as "/rarebit"; proxies pass it on or not."""
        return urlsplit(self.public_url).path

    @classmethod
    def read(cls, **fields: Any) -> Self:
        """The settings from the environment, `fields` before it; SettingsError names the variables that are wrong."""
        try:
            settings = cls(**fields)
        except UnreadableVariableError as error:
            raise SettingsError(f"{error}; lists are written as JSON") from None
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(dict(problem)) for problem in error.errors())) from None
        url = urlsplit(settings.public_url)
        if settings.storage == "local" and url.scheme == "http" and not _is_loopback(url.hostname):
            logger.warning("RAREBIT_PUBLIC_URL=%s sends pictures unencrypted over a network", settings.public_url)
        return settings

    @property
    def served_model(self) -> str:
        """The model whose jobs a worker with these settings takes."""
        return self.model or self.models[0]

    @property
    def adopts_unnamed(self) -> bool:
        """Whether such a worker takes jobs of before there were models: the default is theirs, whatever its name."""
        return self.served_model == self.models[0] and DEFAULT_MODEL not in self.models

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.exposure_ttl_s, self.exposures_kept, self.densities_kept)

    @field_validator("redis_url")
    @classmethod
    def _redis_asks_who_calls(cls, text: str) -> str:
        url = redis_url.parse(text)
        away = [host for host, _ in url.hosts if not _is_loopback(host)]
        if away and not url.password:
            raise ValueError(f"has no password, and its host {away[0]} is not loopback")
        for secret in (url.password, url.sentinel_password):
            if secret and away:
                _refuse_guessable(secret)
        return text

    @field_validator("signing_key", "s3_secret_key")
    @classmethod
    def _secret_is_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            _refuse_guessable(secret.get_secret_value())
        return secret

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret_is_strong(cls, secret: SecretStr | None) -> SecretStr | None:
        """By the Standard Webhooks specification: 24 to 64 random bytes in base64, behind `whsec_`."""
        if secret is not None:
            drawn = secret.get_secret_value().removeprefix("whsec_")
            if drawn == secret.get_secret_value() or not 24 <= _decoded_size(drawn) <= 64:
                raise ValueError("is not whsec_ and 24 to 64 bytes in base64, as of openssl rand -base64 32")
            _refuse_guessable(drawn)
        return secret

    @field_validator("public_url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        TypeAdapter(HttpUrl).validate_python(url)
        return url.rstrip("/")

    @field_validator("s3_endpoint", "s3_public_url")
    @classmethod
    def _s3_host(cls, url: str | None) -> str | None:
        """A bucket's name follows the host, in what is signed, too."""
        if url is None:
            return None
        parts = urlsplit(url if "://" in url else f"https://{url}")
        TypeAdapter(HttpUrl).validate_python(parts.geturl())
        if parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"{parts.scheme}://{parts.hostname} may be followed by a port alone")
        return url

    @model_validator(mode="after")
    def _storage_is_complete(self) -> Self:
        needed = {"local": ["signing_key"], "s3": ["s3_endpoint", "s3_access_key", "s3_secret_key"]}[self.storage]
        if missing := [name for name in needed if getattr(self, name) is None]:
            names = ", ".join(f"RAREBIT_{name.upper()}" for name in missing)
            raise ValueError(f"storage {self.storage!r} needs {names}")
        return self

    @model_validator(mode="after")
    def _somebody_asks_for_keys(self) -> Self:
        host = urlsplit(self.public_url).hostname
        if self.auth == "off" and not _is_loopback(host):
            raise ValueError(
                f"RAREBIT_AUTH=off with {host} in RAREBIT_PUBLIC_URL lets everybody there read and erase all jobs: "
                "use keys, or proxy if one before the gateway lets nobody else in"
            )
        return self

    @model_validator(mode="after")
    def _models_are_named_once(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"RAREBIT_MODELS names a model twice: {', '.join(self.models)}")
        if self.served_model not in self.models:
            raise ValueError(
                f"RAREBIT_MODEL={self.served_model} is none of RAREBIT_MODELS, {', '.join(self.models)}: "
                "gateways take no jobs for it"
            )
        return self

    @model_validator(mode="after")
    def _lease_is_short(self) -> Self:
        if 2 * self.lease_s > self.run_limit_s:
            raise ValueError(
                f"RAREBIT_LEASE_S={self.lease_s} is more than half of RAREBIT_RUN_LIMIT_S={self.run_limit_s}: "
                "a dead worker's job would wait about as long as it may run"
            )
        return self


def log_style() -> str:
    """RAREBIT_LOG by itself: what is wrong with other settings is said in that style, too."""
    return os.environ.get("RAREBIT_LOG", "text")


def _is_loopback(host: str | None) -> bool:
    """Whether only this machine is meant; no host is localhost to Redis clients."""
    try:
        return host in {None, "localhost"} or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _decoded_size(text: str) -> int:
    """Bytes that the text is base64 of; 0 when it is not."""
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return 0


def _refuse_guessable(secret: str) -> None:
    """ValueError, without the secret in it, for what documentation shows and for a few characters repeated."""
    if any(example in secret.casefold() for example in _EXAMPLES):
        raise ValueError(f"holds a secret that is an example: it contains one of {', '.join(_EXAMPLES)}")
    if (distinct := len(set(secret))) < _DISTINCT:
        raise ValueError(f"holds a secret of {distinct} different characters, {_DISTINCT} are the least")


def _sentence(problem: dict[str, Any]) -> str:
    """One problem without the value that caused it, which may be a secret."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    return " ".join([*(f"RAREBIT_{part}".upper() for part in problem["loc"][:1]), message])
