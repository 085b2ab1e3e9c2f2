"""What Redis has to be set to before it is trusted with jobs."""

from collections.abc import Mapping
from typing import Any

from services.errors import StoreUnsafeError


def require_durable(info: Mapping[str, Any]) -> None:
    """StoreUnsafeError unless the server whose INFO this is evicts nothing and writes an append-only file."""
    policy, appends = info["maxmemory_policy"], bool(info["aof_enabled"])
    if policy != "noeviction" or not appends:
        raise StoreUnsafeError(
            "Redis would lose jobs: it needs maxmemory-policy noeviction and appendonly yes, "
            f"and has {policy} and {'yes' if appends else 'no'}"
        )
