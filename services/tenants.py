"""API keys and the tenants that they belong to, in Redis; of a key only a digest is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import redis

from services.base_models import StoredModel, read_each
from services.errors import TenantError, UnauthorizedError
from services.jobs.answers import pairs
from services.jobs.pipeline import Tenanted
from services.jobs.store import EVERYBODY, Operations

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"rb_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Limits:
    """What a tenant may do: requests a minute, jobs that run at once, jobs that wait; None is no limit of its own."""

    rate: int | None = None
    running: int | None = None
    queued: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and value < 1:
                raise TenantError(f"the limit {name} must be at least 1, got {value}")

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        known = cls.__dataclass_fields__.keys() & fields.keys()
        return cls(**{name: int(fields[name]) for name in known})


class ApiKey(StoredModel):
    """What is kept of a key; `operator` lets it see quarantine and metrics, too."""

    id: str
    tenant: str
    operator: bool
    digest: str
    created_at: str


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    tenant: str
    operator: bool
    limits: Limits


NOBODY = Caller(EVERYBODY, operator=True, limits=Limits())  # whoever calls where keys are off


class Tenants:
    """What an operator does with keys and limits; every method raises redis-py's errors while Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._operations = Operations(client)

    def _call(self, operation: str, *arguments: str | int) -> Any:
        return self._operations(operation, EVERYBODY, *arguments)

    def create_key(self, tenant: str, *, operator: bool = False) -> str:
        """A new key of the tenant, which is shown this once. Raises TenantError for a name that cannot be."""
        if not _NAME.fullmatch(tenant):
            raise TenantError(f"a tenant's name has 1 to 63 of a-z, 0-9 and -, no - at first; got {tenant!r}")
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        key = ApiKey(id=key_id, tenant=tenant, operator=operator, digest=_digest(secret), created_at=created_at)
        self._call("add_key", key_id, key.model_dump_json())
        return f"rb_{key_id}_{secret}"

    def list_keys(self) -> list[ApiKey]:
        """All keys, the oldest first."""
        documents: Any = self._call("keys")
        return sorted(read_each("an API key", ApiKey.model_validate_json, documents), key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> None:
        """Have the key open nothing any more. Raises TenantError when there is none."""
        if not self._call("revoke", key_id):
            raise TenantError(f"there is no key {key_id}")

    def limit(self, tenant: str, limits: Limits) -> None:
        """Replace the tenant's limits, which bind what waits, too: jobs without a slot are held, others let in."""
        given = [word for name, value in asdict(limits).items() if value is not None for word in (name, value)]
        more = self._call("limit", tenant, *given)
        while more:
            more = self._call("balance", tenant)

    def limits(self, tenant: str) -> Limits:
        """The tenant's limits."""
        return Limits.of(pairs(self._call("limits", tenant)))


class Doorkeeper(Tenanted):
    """Tells the gateway who calls."""

    async def admit(self, authorization: str) -> Caller:
        """Whose key the header names. Raises UnauthorizedError, which does not say what is wrong with a key."""
        scheme, _, given = authorization.partition(" ")
        match = _KEY.fullmatch(given.strip())
        if scheme.lower() != "bearer" or match is None:
            raise UnauthorizedError("send the header `Authorization: Bearer KEY` with an API key")
        found = await self._call("caller", match[1]) or []
        for key in read_each(f"the API key {match[1]}", ApiKey.model_validate_json, found[:1]):
            if hmac.compare_digest(key.digest, _digest(match[2])):
                return Caller(key.tenant, key.operator, Limits.of(pairs(found[1])))
        raise UnauthorizedError("the API key is unknown or revoked")


def _digest(secret: str) -> str:
    """A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
