"""Every environment variable (prefix RAREBIT_); read only in api/deps.py, worker/app.py and deploy/local."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, HttpUrl, SecretStr, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariableError

from services.errors import SettingsError

_MINI = Path(__file__).parents[1] / "deploy/checkpoints/rarebit-mini"

Seconds = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """The service's configuration; `Settings.read()` turns what is wrong with it into one sentence."""

    model_config = SettingsConfigDict(env_prefix="RAREBIT_", frozen=True)

    redis_url: str = "redis://127.0.0.1:6379/0"
    public_url: str = "http://127.0.0.1:8000"
    body_limit_bytes: int = Field(default=64 * 1024, ge=1024)
    picture_limit_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_queued: int = Field(default=1000, ge=1)

    storage: Literal["local", "s3"] = "local"
    data_dir: Path = Path("data")
    signing_key: SecretStr | None = Field(default=None, min_length=16)
    s3_endpoint: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_bucket: str = Field(default="rarebit", min_length=3, max_length=63)
    s3_region: str = "us-east-1"
    url_ttl_s: Seconds = Field(default=3600, le=7 * 86400)  # S3 signs for a week at most
    output_ttl_s: Seconds = 7 * 86400

    prior: str = str(_MINI / "prior")
    decoder: str = str(_MINI / "decoder")
    scorer: str = str(_MINI / "scorer")
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    preload: list[str] = []
    density_samples: int = Field(default=5000, ge=100, le=100_000)
    density_cache: int = Field(default=64, ge=1)
    run_limit_s: Seconds = 1800
    lease_s: int = Field(default=30, ge=2)

    @classmethod
    def read(cls, **fields: Any) -> Self:
        """The settings from the environment, `fields` before it; SettingsError names the variables that are wrong."""
        try:
            return cls(**fields)
        except UnreadableVariableError as error:
            raise SettingsError(f"{error}; lists are written as JSON") from None
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(dict(problem)) for problem in error.errors())) from None

    @property
    def broker_url(self) -> str:
        """`redis_url` as Celery writes it: a Unix socket has its own scheme and names the database differently."""
        url = urlsplit(self.redis_url)
        if url.scheme != "unix":
            return self.redis_url
        return f"redis+socket://{url.path}?virtual_host={parse_qs(url.query).get('db', ['0'])[0]}"

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("begins with none of redis://, rediss:// and unix://")
        return url

    @field_validator("public_url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        TypeAdapter(HttpUrl).validate_python(url)
        return url.rstrip("/")

    @model_validator(mode="after")
    def _storage_is_complete(self) -> Self:
        needed = {"local": ["signing_key"], "s3": ["s3_endpoint", "s3_access_key", "s3_secret_key"]}[self.storage]
        if missing := [name for name in needed if getattr(self, name) is None]:
            names = ", ".join(f"RAREBIT_{name.upper()}" for name in missing)
            raise ValueError(f"storage {self.storage!r} needs {names}")
        return self


def _sentence(problem: dict[str, Any]) -> str:
    """One problem without the value that caused it, which may be a secret."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    return " ".join([*(f"RAREBIT_{part}".upper() for part in problem["loc"][:1]), message])
