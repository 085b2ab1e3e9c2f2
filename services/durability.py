"""What Redis has to be set to before it is trusted with jobs."""

from collections.abc import Mapping
from typing import Any

from services.errors import StoreUnsafeError


def require_durable(info: Mapping[str, Any]) -> None:
    """StoreUnsafeError unless the server whose INFO this is evicts nothing, appends to a file and is no cluster's."""
    if info.get("cluster_enabled"):
        raise StoreUnsafeError(
            "Redis runs in cluster mode, which Celery's transport does not speak: "
            "it needs one primary, with replicas and Sentinel where it has to be available"
        )
    policy, appends = info["maxmemory_policy"], bool(info["aof_enabled"])
    if policy != "noeviction" or not appends:
        raise StoreUnsafeError(
            "Redis would lose jobs: it needs maxmemory-policy noeviction and appendonly yes, "
            f"and has {policy} and {'yes' if appends else 'no'}"
        )
