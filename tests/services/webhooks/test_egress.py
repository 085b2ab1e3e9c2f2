"""Calls that strangers asked for reach the public internet alone, whatever a name says when."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address, ip_network

import httpcore
import pytest
import trustme

from services.webhooks.egress import Egress, is_public, open_egress
from tests.receiver import receiving

SERVES = ssl.Purpose.CLIENT_AUTH
LOOPBACK = [ip_network("127.0.0.1/32")]

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1
192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:7f00:1 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808::
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
"""
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def names(monkeypatch):
    """A resolver of our own: the addresses of each name, one list for each time that it is asked for."""
    answers, ask = {}, socket.getaddrinfo

    def resolve(host, port, *rest, **options):
        if host not in answers:
            return ask(host, port, *rest, **options)
        if not answers[host]:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        addresses = answers[host].pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


async def post(url, allowed=LOOPBACK, limit_s=5.0):
    async with open_egress(allowed) as egress:
        return (await egress.post(url, {}, b"{}", limit_s=limit_s)).status_code


@pytest.mark.parametrize("address", PRIVATE.split())
def test_address_that_is_nobodys_on_the_internet_is_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_address_on_the_internet_is_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f000001", "127.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_loopback_is_refused_under_every_name(receiver, scheme, host):
    url = receiver.url.replace("http://127.0.0.1", f"{scheme}://{host}")
    with pytest.raises(httpcore.ConnectError, match="may not call"):
        await post(url, allowed=[])
    assert receiver.got == []


async def test_what_the_operator_allows_is_called(receiver):
    assert await post(receiver.url) == 204


async def test_name_is_refused_when_one_of_its_addresses_is_private(names, receiver):
    names["design.test"] = [["127.0.0.1", "10.0.0.1"]]
    with pytest.raises(httpcore.ConnectError, match="may not call"):
        await post(receiver.url.replace("127.0.0.1", "design.test"))
    assert receiver.got == []


async def test_connection_goes_to_the_address_that_was_looked_at(names, receiver):
    """The name answers with a good address first and with a private one ever after."""
    names["rebound.test"] = [["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]]
    url = receiver.url.replace("127.0.0.1", "rebound.test")
    async with open_egress(LOOPBACK) as egress:
        assert (await egress.post(url, {}, b"{}", limit_s=5)).status_code == 204
        assert len(names["rebound.test"]) == 2  # asked once
        for _ in range(2):
            with pytest.raises(httpcore.ConnectError, match="may not call"):
                await egress.post(url, {}, b"{}", limit_s=5)
    assert len(receiver.got) == 1


async def test_plain_http_goes_nowhere_but_to_allowed_networks(names):
    names["design.test"] = [["8.8.8.8"]]
    with pytest.raises(httpcore.ConnectError, match="may not call"):
        await post("http://design.test/")


async def test_next_address_of_a_name_is_tried_when_the_first_does_not_answer(names, receiver):
    names["design.test"] = [["127.0.0.2", "127.0.0.1"]]
    url = receiver.url.replace("127.0.0.1", "design.test")
    assert await post(url, allowed=[ip_network("127.0.0.0/30")]) == 204
    assert receiver.got[0].headers["host"] == url.split("/")[2]


async def test_name_that_does_not_resolve_is_an_error_of_the_connection(names):
    names["nobody.test"] = []
    with pytest.raises(httpcore.ConnectError, match="does not resolve"):
        await post("https://nobody.test/")


async def test_proxies_of_the_environment_are_not_asked(monkeypatch, receiver):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await post(receiver.url) == 204


async def test_redirect_is_an_answer_and_is_not_followed(receiver):
    receiver.reply(307, location=receiver.url)
    assert await post(receiver.url) == 307
    assert len(receiver.got) == 1


@asynccontextmanager
async def flooding(head, part):
    """A server that answers with `head`, and then with `part` for as long as somebody listens; yields its URL."""
    answering = []

    async def answer(reader, writer):
        answering.append(asyncio.current_task())
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.wait(answering)


async def test_answers_body_is_not_read():
    async with flooding(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", bytes(65536)) as url:
        assert await post(url) == 200


async def test_receiver_that_never_ends_its_answers_head_has_bounded_time():
    async with flooding(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x") as url:
        with pytest.raises(TimeoutError):
            await post(url, limit_s=0.3)


@pytest.mark.parametrize(("name", "taken"), [("design.test", True), ("other.test", False)])
async def test_certificate_is_checked_against_the_name(names, name, taken):
    authority, ours, theirs = trustme.CA(), ssl.create_default_context(), ssl.create_default_context(SERVES)
    authority.configure_trust(ours)
    authority.issue_cert("design.test").configure_cert(theirs)
    names[name] = [["127.0.0.1"]]
    with receiving(theirs) as receiver, ThreadPoolExecutor(1) as resolvers:
        egress, url = Egress(LOOPBACK, resolvers, ours), receiver.url.replace("127.0.0.1", name)
        if taken:
            assert (await egress.post(url, {}, b"{}", limit_s=5)).status_code == 204
        else:
            with pytest.raises(httpcore.ConnectError, match="certificate"):
                await egress.post(url, {}, b"{}", limit_s=5)
        await egress.aclose()
    assert len(receiver.got) == taken
