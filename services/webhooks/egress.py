"""Calls to addresses that strangers chose: they reach the public internet, and what the operator allows besides.

A name is resolved when the connection is made, and the connection goes to the very address that was looked at, so that
a name whose next answer is another one (DNS rebinding) gains nothing. Own code, because the libraries that were there
either look a name up again to connect, or keep their answers, or follow redirects; httpcore's network backend is the
one place that every connection goes through. It knows no proxies, redirects, cookies or .netrc either.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RESOLVERS = 16  # of our own: names that resolve slowly would stop what else the event loop's threads do
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_TIMEOUTS_S = {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 5.0}


@dataclass(frozen=True)
class Answer:
    """The head of a receiver's answer; nobody reads its body."""

    status_code: int
    retry_after: str | None


def is_public(address: Address) -> bool:
    """Whether the address is somebody's on the internet, and so is the IPv4 address that it stands for, if any."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and address.is_global and not address.sixtofour


def may_call(address: Address, allowed: Iterable[Network], *, public: bool) -> bool:
    """Whether the address lies in one of the networks, or is public where that is enough."""
    return any(address in network for network in allowed) or (public and is_public(address))


class Egress:
    """Posts to URLs: `https` to public addresses and the allowed networks, `http` to the latter only."""

    def __init__(self, allowed: Sequence[Network], resolvers: Executor, tls: ssl.SSLContext) -> None:
        backends = {
            "https": _Checked(allowed, resolvers, public=True),
            "http": _Checked(allowed, resolvers, public=False),
        }
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=tls, max_connections=None, max_keepalive_connections=0, network_backend=backend
            )
            for scheme, backend in backends.items()
        }

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, limit_s: float) -> Answer:
        """The answer within `limit_s` seconds. Raises TimeoutError and httpcore's errors, which say what went wrong."""
        scheme, _, rest = url.partition("://")
        named = {"Host": rest.partition("/")[0], **headers}
        async with asyncio.timeout(limit_s):
            request = self._pools[scheme].stream(
                "POST", url, headers=list(named.items()), content=body, extensions={"timeout": _TIMEOUTS_S}
            )
            async with request as response:
                found = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                return Answer(response.status, found.get(b"retry-after"))

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


@asynccontextmanager
async def open_egress(allowed: Sequence[Network]) -> AsyncIterator[Egress]:
    """Calls that end with the block."""
    resolvers = ThreadPoolExecutor(RESOLVERS, "resolver")
    egress = Egress(allowed, resolvers, _tls())
    try:
        yield egress
    finally:
        await egress.aclose()
        resolvers.shutdown(wait=False, cancel_futures=True)


@cache
def _tls() -> ssl.SSLContext:
    """Verifies against certifi's authorities and the system's, those of SSL_CERT_FILE among them."""
    context = httpcore.default_ssl_context()
    context.load_default_certs()
    return context


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to addresses that it has looked at; refuses a name with a single address that is out of bounds."""

    def __init__(self, allowed: Sequence[Network], resolvers: Executor, *, public: bool) -> None:
        self._allowed, self._public = tuple(allowed), public
        self._resolvers = resolvers
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = httpcore.ConnectError("the name has no address")
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._network.connect_tcp(str(address), port, timeout, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def _addresses(self, host: str, port: int, timeout_s: float | None) -> list[Address]:
        lookup = asyncio.get_running_loop().run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        try:
            async with asyncio.timeout(timeout_s):
                found = await lookup
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name did not resolve in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        addresses = [ip_address(str(name[0])) for *_, name in found]
        if not all(may_call(address, self._allowed, public=self._public) for address in addresses):
            raise httpcore.ConnectError("the name has an address that webhooks may not call")
        return addresses
