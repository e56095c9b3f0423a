"""Proxies: what they are told, what they are not, and what happens when they refuse."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback

import pytest
from deadline import scaled
from proxies import proxy_server
from raw_websocket import raw_server
from recorder import opened

from fastgw.connection.proxy import Proxies
from fastgw.connection.tunnel import Proxy
from fastgw.errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    ProxyRefused,
    UsageError,
)
from fastgw.testing import FakeGateway

KINDS = ["http", "socks5"]
SECRET = "p@ss:w/rd"
ENCODED = "p%40ss%3Aw%2Frd"


async def opened_through(url, proxy_url, **options):
    """Open a websocket through a proxy, close it, and return the connection."""
    proxies = Proxies(always=Proxy.parse(proxy_url))
    connection, receiver = await opened(url, proxies=proxies, **options)
    connection.close(4000)
    await receiver.until(lambda: receiver.ended)
    return connection


@pytest.mark.parametrize("kind", KINDS)
async def test_a_websocket_through_a_proxy(kind):
    """The proxy connects, and carries what the two say."""
    async with FakeGateway() as fake, proxy_server(kind) as proxy:
        await opened_through(fake.url, proxy.url)
        assert proxy.asked == [("127.0.0.1", fake.port)]
        assert b"GET / HTTP/1.1" in proxy.passed


@pytest.mark.parametrize("kind", KINDS)
async def test_tls_goes_through_a_proxy_from_end_to_end(kind):
    """The certificate is the gateway's, by the name that only the proxy can resolve."""
    async with FakeGateway(tls=True) as fake, proxy_server(kind, "me", SECRET) as proxy:
        url = proxy.url.replace(SECRET, ENCODED)
        await opened_through(
            f"wss://localhost:{fake.port}", url, ssl_context=fake.client_ssl_context
        )
        assert proxy.asked == [("localhost", fake.port)]
        assert b"GET /" not in proxy.passed


@pytest.mark.parametrize("kind", KINDS)
async def test_the_certificate_is_checked_through_a_proxy(kind):
    """It is not the host's that was meant: the proxy led us elsewhere."""
    async with FakeGateway(tls=True) as fake, proxy_server(kind) as proxy:
        with pytest.raises(CertificateRefused, match=r"gateway\.test"):
            await opened_through(
                f"wss://gateway.test:{fake.port}", proxy.url, ssl_context=fake.client_ssl_context
            )
        with pytest.raises(CertificateRefused):
            await opened_through(f"wss://127.0.0.1:{fake.port}", proxy.url)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_proxy_resolves_the_name(kind):
    """Here nobody could."""
    async with FakeGateway() as fake, proxy_server(kind) as proxy:
        await opened_through(f"ws://gateway.test:{fake.port}", proxy.url)
        assert proxy.asked == [("gateway.test", fake.port)]


async def test_connect_says_what_it_must():
    """RFC 9110 9.3.6: the authority of the host, and nothing that is meant for it."""
    async with FakeGateway() as fake, proxy_server("http", "me", SECRET) as proxy:
        url = proxy.url.replace(SECRET, ENCODED)
        await opened_through(fake.url, url, headers={"User-Agent": "bot", "X-Own": "1"})
        (head,) = proxy.heads
        target = f"127.0.0.1:{fake.port}".encode()
        first, host, login, *rest = head.split(b"\r\n")
        assert first == b"CONNECT " + target + b" HTTP/1.1"
        assert host == b"Host: " + target
        assert login.startswith(b"Proxy-Authorization: Basic ")
        assert rest == [b"", b""]
        assert b"Proxy-Authorization" not in proxy.passed
        assert b"X-Own: 1" in proxy.passed


async def test_an_ipv6_host_in_connect():
    """In brackets, as in a URL."""
    async with proxy_server() as proxy:
        proxy.status = 502
        with pytest.raises(ProxyRefused, match=r"HTTP 502 for \[::1\]:443"):
            await opened_through("wss://[::1]", proxy.url)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_password_is_told_and_not_shown(kind, caplog):
    """Neither in the error, nor in what it came from, nor in a log."""
    caplog.set_level(logging.DEBUG)
    async with proxy_server(kind, "me", "other") as proxy:
        url = proxy.url.replace("other", ENCODED)
        with pytest.raises(ProxyRefused) as caught:
            await opened_through("ws://gateway.test", url)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "the proxy 127.0.0.1:" in told
    assert SECRET not in told
    assert ENCODED not in told
    assert caught.value.status == (407 if kind == "http" else None)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_wants_a_password(kind):
    """It was given none."""
    async with proxy_server(kind, "me", "other") as proxy:
        with pytest.raises(ProxyRefused):
            await opened_through("ws://gateway.test", proxy.url.replace("me:other@", ""))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_refuses(kind):
    """Its rules do not allow the host."""
    async with proxy_server(kind) as proxy:
        proxy.status = 403
        with pytest.raises(ProxyRefused, match=r"the proxy 127\.0\.0\.1:\d+ .*gateway\.test:80"):
            await opened_through("ws://gateway.test", proxy.url)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"\x15\x03\x01\0\x02\x02\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n",
               b"HTTP/1.1 200 " + b"x" * 20_000]
)  # fmt: skip
async def test_a_proxy_that_is_none(answer):
    """Whatever it says, and when it hangs up."""

    async def script(peer):
        await peer.read_request()
        peer.send(answer)

    async with raw_server(script) as url:
        with pytest.raises(ProxyRefused):
            await opened_through("ws://gateway.test", url.replace("ws:", "http:"))


async def test_a_proxy_that_says_too_much():
    """What stands behind its answer is not the host's, which has not been spoken to."""
    async with FakeGateway() as fake, proxy_server() as proxy:
        proxy.extra = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        with pytest.raises(ProxyRefused, match="more than its answer"):
            await opened_through(fake.url, proxy.url)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_is_not_there(kind):
    """It is named, and not the host behind it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectFailed, match=f"cannot reach the proxy 127.0.0.1:{port}"):
            await opened_through("ws://gateway.test", f"{kind}://127.0.0.1:{port}")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_is_silent(kind):
    """The deadline is for all of it; no socket is left."""

    async def script(peer):
        await peer.at_end()

    async with raw_server(script) as url:
        with pytest.raises(ConnectTimeout):
            await opened_through(
                "ws://gateway.test", url.replace("ws:", f"{kind}:"), open_timeout_s=0.1
            )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_open_leaves_no_socket(kind):
    """Also in the middle of the tunnel's handshake."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def script(peer):
        asked.set()
        await peer.at_end()
        ended.set()

    async with raw_server(script) as url:
        proxy_url = url.replace("ws:", f"{kind}:")
        task = asyncio.ensure_future(opened_through("ws://gateway.test", proxy_url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), scaled(10))


# --- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example", Proxy("http", "proxy.example", 8080)),
        ("http://proxy.example:3128/", Proxy("http", "proxy.example", 3128)),
        ("socks5://[::1]", Proxy("socks5", "::1", 1080)),
        ("socks5h://me@h:1", Proxy("socks5", "h", 1, "me")),
        (f"http://m%C3%A9:{ENCODED}@h:1", Proxy("http", "h", 1, "mé", SECRET)),
    ],
)
def test_a_url_of_a_proxy(url, proxy):
    """Host, port, and what it is to be told, decoded."""
    assert Proxy.parse(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        5, "", "proxy", "https://me:secret@h", "ftp://me:secret@h", "http://me:secret@",
        "http://me:secret@h:99999", "http://me:secret@h/path", "http://me:secret@h?a=b",
        "http://me:secret@h#a", "http://me:secret@a b", "http://me:secret@h\N{SNOWMAN}",
        "http://m%3Ae:secret@h", "http://me:secret@[::1",
    ],
)  # fmt: skip
def test_a_bad_url_of_a_proxy_is_refused_without_being_shown(url):
    """It may hold a password."""
    with pytest.raises(UsageError, match="proxy ") as caught:
        Proxy.parse(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_shows_no_credentials():
    """Nor do the options that hold it."""
    shown = repr(Proxies(always=Proxy.parse(f"http://somebody:{ENCODED}@h")))
    assert "somebody" not in shown
    assert SECRET not in shown
    assert "'h'" in shown


# --- the environment -----------------------------------------------------------------------------

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture
def environment(monkeypatch):
    """Set what names proxies, and nothing else."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def hosts_of(proxies, *targets):
    """Return the host of the proxy that leads to each `host:port` over TLS."""
    found = []
    for target in targets:
        host, _, port = target.partition(":")
        proxy = proxies.proxy_for(host, int(port or 443), is_secure=True)
        found.append(proxy and proxy.host)
    return found


def test_the_environment_names_proxies(environment):
    """One for TLS, one for the rest; a name without a scheme is one of HTTP."""
    environment(HTTPS_PROXY="secure:3128", http_proxy="http://plain")
    proxies = Proxies.of_environment()
    assert proxies.proxy_for("h", 443, is_secure=True) == Proxy("http", "secure", 3128)
    assert proxies.proxy_for("h", 80, is_secure=False) == Proxy("http", "plain", 8080)


def test_all_proxy_stands_in(environment):
    """For whatever has none of its own."""
    environment(ALL_PROXY="socks5://all", HTTPS_PROXY="http://secure")
    proxies = Proxies.of_environment()
    assert proxies.proxy_for("h", 443, is_secure=True).host == "secure"
    assert proxies.proxy_for("h", 80, is_secure=False).kind == "socks5"


def test_no_proxy_is_obeyed(environment):
    """Hosts, domains, ports."""
    environment(HTTPS_PROXY="http://p", NO_PROXY="localhost, .example.com,discord.gg,h:8443")
    proxies = Proxies.of_environment()
    direct = ("localhost", "a.example.com", "gateway.discord.gg", "h:8443")
    assert hosts_of(proxies, *direct) == [None] * 4
    assert hosts_of(proxies, "discord.com", "notdiscord.gg", "h:443") == ["p"] * 3


def test_no_proxy_at_all(environment):
    """A star, or an environment that names none."""
    assert hosts_of(Proxies.of_environment(), "h") == [None]
    environment(HTTPS_PROXY="http://p", NO_PROXY="*")
    assert hosts_of(Proxies.of_environment(), "h") == [None]


def test_a_bad_variable_is_named_without_its_value(environment):
    """It may hold a password."""
    environment(HTTPS_PROXY="ftp://me:secret@h")
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        Proxies.of_environment()
    assert "secret" not in str(caught.value)
