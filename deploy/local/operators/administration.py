"""The command line of operators: keys and limits, through Redis; the quarantine, through the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from deploy.local.sentence import one_sentence
from rarebit_client import Client
from services.jobs.store import connect
from services.tenants import Limits, Tenants

LOCAL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option(help="Where the gateway answers.")]
ApiKey = Annotated[str, typer.Option(envvar="RAREBIT_API_KEY", help="An operator's key, where keys are on.")]
RedisUrl = Annotated[str, typer.Option(envvar="RAREBIT_REDIS_URL", help="The service's Redis.", show_default=False)]
Tenant = Annotated[str, typer.Argument()]
Limit = Annotated[int | None, typer.Option(min=1, show_default="none")]

keys = typer.Typer(no_args_is_help=True, help="API keys and what their tenants may do.")
quarantine = typer.Typer(no_args_is_help=True, help="Jobs that two workers died with.")


@keys.command("create")
def create_key(
    tenant: Tenant,
    operator: Annotated[bool, typer.Option("--operator", help="Lets it see quarantine and metrics, too.")] = False,
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0",
) -> None:
    """Print a new key of the tenant; it is shown this once."""
    with _tenants(redis_url) as tenants:
        print(tenants.create_key(tenant, operator=operator))


@keys.command("list")
def list_keys(redis_url: RedisUrl = "redis://127.0.0.1:6379/0") -> None:
    """Print each key's id, tenant, when it was made, and its tenant's limits; the keys themselves are not kept."""
    with _tenants(redis_url) as tenants:
        for key in tenants.list_keys():
            limits = (f"{name} {value}" for name, value in asdict(tenants.limits(key.tenant)).items() if value)
            role = "operator" if key.operator else ""
            print(key.id, key.tenant, key.created_at, role, ", ".join(limits), sep="\t")


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID")], redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
) -> None:
    """Have the key open nothing any more."""
    with _tenants(redis_url) as tenants:
        tenants.revoke(key_id)


@keys.command("limit")
def limit_tenant(
    tenant: Tenant,
    rate: Limit = None,
    running: Limit = None,
    queued: Limit = None,
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0",
) -> None:
    """Replace the tenant's limits: requests a minute, jobs that run at once, jobs that wait."""
    with _tenants(redis_url) as tenants:
        tenants.limit(tenant, Limits(rate, running, queued))


@quarantine.command("list")
def list_quarantine(url: Url = LOCAL, api_key: ApiKey = "") -> None:
    """Print each one's id, when it failed and its concept, newest first; then the ids of those that cannot be read."""
    with one_sentence(), Client(url, api_key) as client:
        for job in client.quarantine():
            print(job.id, job.finished_at, job.concept, sep="\t")
        for job_id in client.unreadable():
            print(job_id, "unreadable", sep="\t")


@quarantine.command("replay")
def replay_job(job_id: Annotated[str, typer.Argument(metavar="ID")], url: Url = LOCAL, api_key: ApiKey = "") -> None:
    """Queue a new job of the same request, seed and all, and print its id."""
    with one_sentence(), Client(url, api_key) as client:
        print(client.replay(job_id).id)


@contextmanager
def _tenants(redis_url: str) -> Iterator[Tenants]:
    with one_sentence(), connect(redis_url) as client:
        yield Tenants(client)
