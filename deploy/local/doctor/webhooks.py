"""Webhooks: whether they are sent, and whom they may call."""

from collections.abc import Iterator
from ipaddress import ip_network

from deploy.local.doctor.finding import Finding, ok, warning
from services.settings import Settings

_METADATA = (ip_network("169.254.0.0/16"), ip_network("fd00:ec2::254/128"))  # where clouds hand out credentials


def look(settings: Settings) -> Iterator[Finding]:
    """Settings alone: nobody is called."""
    networks = settings.webhook_networks
    if settings.webhook_secret is None:
        do = "Set RAREBIT_WEBHOOK_SECRET to whsec_ and the output of `openssl rand -base64 32`, if they are wanted."
        yield warning("webhooks", "are off: there is no secret to sign with", do)
        return
    named = ", ".join(map(str, networks))
    if any(network.version == own.version and network.overlaps(own) for network in networks for own in _METADATA):
        told = f"may call {named}, where clouds hand out a machine's credentials"
        yield warning("webhooks", told, "Name narrower networks in RAREBIT_WEBHOOK_NETWORKS.")
        return
    yield ok("webhooks", f"are signed, and call the internet{f' and {named}' if named else ''}")
