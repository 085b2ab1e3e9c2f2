"""What a Redis URL means, to redis-py and to Celery.

`redis://[USER:PASSWORD@]HOST:PORT/DB` names a server, `unix:///PATH?db=DB` a socket, and
`redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/DB?master=NAME` Sentinels, who know which server is the primary;
they may ask for a `sentinel_password` of their own. `rediss` in place of `redis` is TLS, to Sentinel too, with
`ssl_ca_certs=FILE` where the system's authorities do not know the server, and `ssl_certfile`, `ssl_keyfile` where it
wants to know us.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

_PORTS = {"redis": 6379, "rediss": 6379, "unix": 0, "redis+sentinel": 26379, "rediss+sentinel": 26379}
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = {
    "redis": (),
    "rediss": _TLS_FILES,
    "unix": ("db",),
    "redis+sentinel": ("master", "sentinel_password"),
    "rediss+sentinel": ("master", "sentinel_password", *_TLS_FILES),
}


@dataclass(frozen=True, repr=False)
class RedisUrl:
    """A URL in parts, secrets among them; `hosts` are Sentinels if there is a `master`, none if there is a `socket`."""

    hosts: list[tuple[str, int]]
    socket: str | None
    username: str | None
    password: str | None
    db: int
    tls: dict[str, Any]
    master: str | None
    sentinel_password: str | None

    @property
    def server(self) -> dict[str, Any]:
        """What redis-py's clients take for the server, except where it is when Sentinel knows that."""
        login = {"db": self.db, "username": self.username, "password": self.password, **self.tls}
        if self.socket:
            return login | {"unix_socket_path": self.socket}
        return login if self.master else login | {"host": self.hosts[0][0], "port": self.hosts[0][1]}

    @property
    def sentinel(self) -> dict[str, Any]:
        """What redis-py's clients take for a Sentinel."""
        return {"password": self.sentinel_password, **self.tls}


def parse(text: str) -> RedisUrl:
    """The URL in parts; ValueError says what is wrong with it, without its secrets."""
    url = urlsplit(text)
    if url.scheme not in _PORTS:
        raise ValueError("begins with none of redis://, rediss://, unix://, redis+sentinel:// and rediss+sentinel://")
    if "@" in url.path + url.query + url.fragment:
        raise ValueError("has an @ behind its host: what is special in a password has to be percent-encoded")
    options = _options(url)
    login, _, hosts = url.netloc.rpartition("@")
    username, _, password = (unquote(part) or None for part in login.partition(":"))
    return RedisUrl(
        hosts=[_host(host, _PORTS[url.scheme]) for host in hosts.split(",")] if url.scheme != "unix" else [],
        socket=unquote(url.path) if url.scheme == "unix" else None,
        username=username,
        password=password,
        db=_db(options.get("db", "") if url.scheme == "unix" else url.path.strip("/")),
        tls=_tls(options) if url.scheme.startswith("rediss") else {},
        master=options.get("master"),
        sentinel_password=options.get("sentinel_password"),
    )


def open_client(text: str, **options: Any) -> redis.Redis:
    """A client of the server, or of whichever is the primary; `options` hold for Sentinel as well."""
    url = parse(text)
    if url.master is None:
        return redis.Redis(**url.server, **options)
    sentinel = url.sentinel | options
    manager = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        url.hosts, sentinel_kwargs=sentinel, **url.server, **options
    )
    client: redis.Redis = manager.master_for(  # type: ignore[no-untyped-call]
        url.master, connection_pool_class=_Pool
    )
    return client


def open_client_async(text: str, **options: Any) -> redis.asyncio.Redis:
    """The same for asyncio."""
    url = parse(text)
    if url.master is None:
        return redis.asyncio.Redis(**url.server, **options)
    sentinel = url.sentinel | options
    manager = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        url.hosts, sentinel_kwargs=sentinel, **url.server, **options
    )
    client: redis.asyncio.Redis = manager.master_for(url.master, connection_pool_class=_AsyncPool)
    return client


def broker(text: str, **options: Any) -> dict[str, Any]:
    """Celery's settings for the same database; `options` are kombu's, and those that redis-py shares with Sentinel."""
    url = parse(text)
    login = f"{quote(url.username or '', safe='')}:{quote(url.password or '', safe='')}@" if url.password else ""
    if url.socket:
        address = f"redis+socket://{login}{url.socket}?virtual_host={url.db}"
    else:
        scheme = "sentinel" if url.master else "redis"
        address = ";".join(f"{scheme}://{login}{_bracketed(host)}:{port}/{url.db}" for host, port in url.hosts)
    if url.master:
        timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
        patience = timeouts | {"retry": Retry(NoBackoff(), 0)}  # the next Sentinel is asked instead
        options |= {"master_name": url.master, "sentinel_kwargs": url.sentinel | patience}
    tls = {name: value for name, value in url.tls.items() if name != "ssl"}
    return {"broker_url": address, "broker_use_ssl": tls or None, "broker_transport_options": options}


class _Pool(redis.sentinel.SentinelConnectionPool):
    """Closes its connections to the Sentinels when it is closed."""

    def close(self) -> None:
        super().close()
        self.sentinel_manager.close()


class _AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Closes its connections to the Sentinels when it is closed."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _options(url: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(url.query))
    for name in options:
        if name not in _OPTIONS[url.scheme]:
            known = ", ".join(_OPTIONS[url.scheme]) or "none"
            raise ValueError(f"has the option {name}; {url.scheme}:// takes {known}")
    if url.scheme.endswith("sentinel") and not options.get("master"):
        raise ValueError("needs ?master=NAME, the name under which Sentinel watches the primary")
    return options


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    files = {name: options[name] for name in _TLS_FILES if name in options}
    for name, file in files.items():
        if not Path(file).is_file():
            raise ValueError(f"has {name}={file}, which is no file")
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **files}


def _host(text: str, port: int) -> tuple[str, int]:
    url = urlsplit(f"//{text}")
    return url.hostname or "localhost", url.port or port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _db(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError(f"names the database {text!r}, which is no number")
    return int(text or 0)
