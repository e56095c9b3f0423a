"""`GET /gateway/bot`: what its answers mean, and when it is asked again."""

import asyncio
import contextlib
import json
import logging
import re
import socket
import ssl
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest
from deadline import scaled, until

from fastgw.connection import reach
from fastgw.connection.lookup import Address
from fastgw.errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    GatewayInfoError,
    UsageError,
)
from fastgw.fleet.http import gateway_info
from fastgw.fleet.http.gateway_info import (
    SessionStartLimit,
    ask_until_answered,
    fetch_gateway_info,
)
from fastgw.testing import FakeGateway
from fastgw.version import USER_AGENT

TOKEN = "not.a.token"
HTML = b"<html>error code: 1015</html>"


async def ask(api_url, *, timeout_s=5.0, ssl_context=None):
    """Ask once."""
    timeout_s = scaled(timeout_s)
    return await fetch_gateway_info(api_url, TOKEN, timeout_s=timeout_s, ssl_context=ssl_context)


@asynccontextmanager
async def server(answer):
    """Serve TCP: `answer(reader, writer)` does what it likes with a connection."""
    held = set()

    async def accept(reader, writer):
        held.add(writer)
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/v10"
    finally:
        listening.close()
        for writer in held:
            writer.close()


def answering(data, request=None):
    """Read a request, answer these bytes."""

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if request is not None:
            request.append(head.decode())
        writer.write(data)
        await writer.drain()

    return answer


@pytest.mark.parametrize("tls", [False, True])
async def test_a_good_answer(tls):
    """URL, shards and what is left to start; http and https."""
    async with FakeGateway(tls=tls, recommended_shards=4, max_concurrency=16) as fake:
        info = await ask(fake.api_url, ssl_context=fake.client_ssl_context)
        assert info.url == fake.url
        assert info.shards == 4
        assert info.session_start_limit == SessionStartLimit(1000, 1000, 14_400.0, 16)


async def test_what_the_request_says():
    """Path under the base URL, the token with its prefix, and the user agent Discord asks for."""
    request = []
    body = b'{"url":"wss://gateway.discord.gg","shards":1}'
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with server(answering(good, request)) as api_url:
        await ask(api_url + "/")
    assert request[0].startswith("GET /api/v10/gateway/bot HTTP/1.1\r\n")
    assert f"Authorization: Bot {TOKEN}\r\n" in request[0]
    assert f"User-Agent: {USER_AGENT}\r\n" in request[0]
    assert USER_AGENT.startswith("DiscordBot (https://")


@pytest.mark.parametrize(
    ("api_url", "port"),
    [("https://x.gg/api", 443), ("http://x.gg/api", 80), ("https://x.gg:8443/api", 8443)],
)
async def test_a_url_without_a_port_means_that_of_its_scheme(monkeypatch, api_url, port):
    """443 for https, 80 for http."""
    asked = []

    async def http_get(host, port, *args, **options):
        asked.append((host, port, options["is_secure"]))
        raise OSError("enough")

    monkeypatch.setattr(gateway_info, "http_get", http_get)
    with pytest.raises(ConnectFailed, match="enough"):
        await ask(api_url)
    assert asked == [("x.gg", port, api_url.startswith("https"))]


async def test_from_https_nobody_is_led_to_a_url_without_tls():
    """The token goes there next."""
    async with FakeGateway(tls=True) as fake:
        fake.answer_api(200, b'{"url":"ws://gateway.discord.gg","shards":1}')
        with pytest.raises(GatewayInfoError, match="a URL without TLS"):
            await ask(fake.api_url, ssl_context=fake.client_ssl_context)


@pytest.mark.parametrize("is_http", [False, True])
async def test_an_answer_is_taken_as_soon_as_it_is_whole(is_http):
    """Also where the server does not hang up; and what is no HTTP is refused as soon."""
    hung_up = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WITH_LENGTH if is_http else b"SSH-2.0-OpenSSH_9.7\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        hung_up.set()

    async with server(answer) as api_url:
        if is_http:
            assert (await ask(api_url, timeout_s=30.0)).url == "wss://gateway.discord.gg"
        else:
            with pytest.raises(GatewayInfoError, match="does not answer in HTTP"):
                await ask(api_url, timeout_s=30.0)
        await asyncio.wait_for(hung_up.wait(), scaled(10.0))


async def test_an_answer_without_a_length_is_whole_when_the_server_hangs_up():
    """As old servers do."""
    async with server(answering(UNTIL_CLOSE)) as api_url:
        assert (await ask(api_url)).url == "wss://gateway.discord.gg"


async def test_a_refused_token():
    """401: fatal, and the text says where to look."""
    async with FakeGateway(token="another") as fake:
        with pytest.raises(AuthenticationFailed, match=r"HTTP 401.*DISCORD_TOKEN"):
            await ask(fake.api_url)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, b'{"message": "Missing Access", "code": 0}', "HTTP 403: Missing Access"),
        (403, HTML, "HTTP 403, without JSON: a proxy or Cloudflare"),
        (404, b"", "HTTP 404, without JSON"),
        (500, b'{"message": "500: Internal Server Error"}', "HTTP 500: 500: Internal"),
        (502, HTML, "HTTP 502, without JSON"),
        (520, HTML, "HTTP 520, without JSON"),
        (302, b"", "HTTP 302"),
        (200, HTML, "a body that is not JSON"),
        (200, b"", "a body that is not JSON"),
        (200, b"[" * 60_000, "a body that is not JSON"),
        (200, b"[1]", "not a JSON object"),
        (200, b'{"shards": 1}', "malformed"),
        (200, b'{"url": "gopher://x", "shards": 1}', "not a websocket URL"),
    ],
)
async def test_bad_answers(status, body, text):
    """Each is a typed error with the status and what was said."""
    async with FakeGateway() as fake:
        fake.answer_api(status, body)
        with pytest.raises(GatewayInfoError, match=text) as caught:
            await ask(fake.api_url)
    if status != 200:
        assert caught.value.status == status
        assert caught.value.retry_after_s is None
    assert ("is not banned" in str(caught.value)) == (status == 403)


async def test_what_the_api_says_is_quoted_without_the_token_and_briefly():
    """A proxy may send the request back, and a page of 60 KB."""
    said = f"Bot {TOKEN} may not; " + "x" * 50_000
    async with FakeGateway() as fake:
        fake.answer_api(403, json.dumps({"message": said}).encode())
        with pytest.raises(GatewayInfoError, match="Bot <token> may not") as caught:
            await ask(fake.api_url)
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"message": "slow", "retry_after": 1.5, "global": false}', {}, 1.5),
        (b'{"message": "slow", "retry_after": 1.5}', {"Retry-After": "2"}, 2.0),
        (HTML, {"retry-after": "82800"}, 82_800.0),
        (HTML, {}, 60.0),
        (b'{"retry_after": "soon"}', {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
        (b'{"retry_after": -1}', {"Retry-After": "inf"}, 60.0),
        (b'{"retry_after": 0}', {}, 0.0),
        (b'{"retry_after": 1e300}', {}, 172_800.0),
        (b'{"retry_after": 1%s}' % (b"0" * 400), {}, 60.0),
    ],
)
async def test_a_rate_limit_says_how_long(body, headers, expected):
    """429 from Discord or from Cloudflare: the longest wait that is named, else a minute."""
    async with FakeGateway() as fake:
        fake.answer_api(429, body, headers=headers)
        with pytest.raises(GatewayInfoError, match="rate limited") as caught:
            await ask(fake.api_url)
    assert (caught.value.status, caught.value.retry_after_s) == (429, expected)


async def test_connection_refused():
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConnectFailed, match="refused the connection; check api_url"):
        await ask(f"http://127.0.0.1:{port}/api/v10")


async def test_a_name_that_does_not_resolve(monkeypatch):
    """DNS failure; the resolver is replaced, since no test may ask the internet."""

    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConnectFailed, match="could not be resolved"):
        await ask("http://nowhere.invalid/api/v10")


async def test_an_untrusted_certificate():
    """The system's certificates do not know ours."""
    async with FakeGateway(tls=True) as fake:
        with pytest.raises(CertificateRefused, match="pass ssl_context="):
            await ask(fake.api_url)


async def test_no_answer_in_time():
    """A server that takes the request and says nothing."""

    async def silent(reader, writer):
        await reader.read()

    async with server(silent) as api_url:
        with pytest.raises(ConnectTimeout, match="no answer within"):
            await ask(api_url, timeout_s=0.1)


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.7\r\n", b"\x00" * 100, b""])
async def test_what_is_no_http(data):
    """Garbage, or a server that hangs up, is a typed error that says whom to check."""
    async with server(answering(data)) as api_url:
        with pytest.raises((GatewayInfoError, ConnectFailed), match=r"check api_url|failed"):
            await ask(api_url)


BODY = b'{"url":"wss://gateway.discord.gg","shards":1}'
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"7;x=y\r\n%s\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (BODY[:7], len(BODY) - 7, BODY[7:])
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + BODY


@pytest.mark.parametrize("answer", [WITH_LENGTH, CHUNKED, UNTIL_CLOSE])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.8])
async def test_an_answer_that_breaks_off_is_no_answer(answer, share):
    """Wherever it does, it is worth another try: neither garbage nor a verdict."""
    async with server(answering(answer[: int(len(answer) * share)])) as api_url:
        with pytest.raises(ConnectFailed, match="broke off"):
            await ask(api_url)


async def test_an_answer_that_broke_off_is_asked_for_again():
    """A hang-up at any place is a bad moment, like a reset at the same place."""
    cuts = [b"", b"HTT", WITH_LENGTH[:20], WITH_LENGTH[:-1], CHUNKED[:-30], UNTIL_CLOSE[:-1]]
    left = [*cuts, WITH_LENGTH]

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0))
        await writer.drain()

    async with server(answer) as api_url:
        ask = partial(fetch_gateway_info, api_url, TOKEN, timeout_s=scaled(5.0))
        info = await ask_until_answered(ask, random=lambda: 0.0)
    assert info.url == "wss://gateway.discord.gg"
    assert left == []


async def test_one_deadline_covers_the_whole_call():
    """A server that drips keeps nobody longer than one that is silent."""

    async def drip(reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not writer.is_closing():  # who asked has gone then
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with server(drip) as api_url:
        with pytest.raises(ConnectTimeout):
            await asyncio.wait_for(fetch_gateway_info(api_url, TOKEN, timeout_s=0.2), scaled(10.0))


async def test_every_address_of_the_api_is_tried(monkeypatch):
    """One that is silent and one that hangs up do not end it."""

    async def silent(reader, writer):
        await reader.read()

    servers = [server(silent), server(answering(b"")), server(answering(WITH_LENGTH))]
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(each) for each in servers]
        ports = [urlsplit(url).port for url in urls]

        async def resolve(host, port):
            return [Address(socket.AF_INET, ("127.0.0.1", each)) for each in ports]

        monkeypatch.setattr(reach, "resolve", resolve)
        info = await ask(urls[0], timeout_s=1.0)
    assert info.url == "wss://gateway.discord.gg"


async def test_a_certificate_that_is_not_valid_yet_is_retried():
    """The clock may still have to be set."""
    error = ssl.SSLCertVerificationError("certificate is not yet valid")
    error.verify_code = 9
    raised = gateway_info._failure(error, "https://x", 1.0)
    assert type(raised) is ConnectFailed
    assert "clock" in str(raised)


@pytest.mark.parametrize("token", ["a\r\nX: y", "a\0", "tökén"])
async def test_a_token_that_would_break_the_request_is_refused(token):
    """It would write a header of its own; the text does not show it."""
    with pytest.raises(UsageError) as caught:
        await fetch_gateway_info("http://127.0.0.1:1/api", token, timeout_s=1.0)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "api_url",
    [
        "discord.com/api",
        "ftp://x/api",
        "http://",
        "http://x:y/",
        "https://a..b/api",
        "http://[::1",
        "https://x/ä",
    ],
)
async def test_a_bad_api_url(api_url):
    """A usage error that shows how it looks."""
    with pytest.raises(UsageError, match="must look like https://"):
        await ask(api_url)


async def test_a_password_in_the_api_url_is_refused():
    """It would be sent to nobody; the text does not show it."""
    with pytest.raises(UsageError, match="a user name or password") as caught:
        await ask("https://me:hunter2@x.gg/api")
    assert "hunter2" not in str(caught.value)


async def test_cancelling_returns_at_once():
    """And leaves no socket: conftest counts them."""

    asked = asyncio.Event()

    async def silent(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with server(silent) as api_url:
        asking = asyncio.ensure_future(ask(api_url, timeout_s=600.0))
        await asyncio.wait_for(asked.wait(), scaled(5.0))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, scaled(10.0))


async def patiently(fake, **options):
    """Ask until there is an answer, with the shortest delays that chance allows."""
    ask = partial(fetch_gateway_info, fake.api_url, TOKEN, timeout_s=scaled(5.0))
    return await ask_until_answered(ask, random=lambda: 0.0, **options)


async def test_it_asks_again_while_the_api_is_down(caplog):
    """5xx: one warning of a kind, then the answer, which is told as well."""
    caplog.set_level(logging.INFO, "fastgw.api")
    async with FakeGateway() as fake:
        for status in (503, 503, 503, 502, 502, 503):
            fake.answer_api(status)
        info = await patiently(fake)
        assert info.url == fake.url
        assert fake.api_requests == 7
    *warnings, answered = [record.message for record in caplog.records]
    told = [int(re.search(r"HTTP (\d+)", text)[1]) for text in warnings]
    assert told == [503, 502, 503]
    assert answered == "the API answers, after 6 failures"


async def test_the_same_failure_is_told_again_after_ten_minutes(caplog):
    """A line each minute, and nobody reads any; none at all, and it seems to hang."""
    now = 0.0

    async def sleep(_seconds):
        nonlocal now
        now += 59.0

    async with FakeGateway() as fake:
        fake.answer_api(503, times=25)
        await patiently(fake, sleep=sleep, clock=lambda: now)
    first, *others = [record.message for record in caplog.records]
    assert first.endswith("; asking again in 0.0 s, and on until it answers")
    assert [text.partition(", as ")[2] for text in others] == [
        "12 times now; asking on", "23 times now; asking on",
    ]  # fmt: skip


async def test_it_asks_again_while_nobody_listens():
    """Refused connections, like names that do not resolve, pass: the network comes up."""
    fake = FakeGateway()
    await fake.start()
    await fake.stop()
    asking = asyncio.ensure_future(patiently(fake))
    await asyncio.sleep(0.05)
    assert not asking.done()
    await fake.start()
    try:
        assert (await asking).url == fake.url
    finally:
        await fake.stop()


async def test_a_rate_limit_is_obeyed():
    """Not asked again before the time named, in full."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async with FakeGateway() as fake:
        fake.answer_api(429, b'{"retry_after": 82800.5}')
        await patiently(fake, sleep=sleep)
    assert slept == [82_800.5]


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationFailed), (403, GatewayInfoError)]
)
async def test_what_cannot_get_better_is_raised(status, error):
    """10,000 refusals in 10 minutes ban an address: these are asked once."""
    async with FakeGateway() as fake:
        fake.answer_api(status, times=None)
        with pytest.raises(error):
            await patiently(fake)
        assert fake.api_requests == 1


async def test_cancelling_ends_the_asking():
    """Also between two attempts."""
    async with FakeGateway() as fake:
        fake.answer_api(429, b'{"retry_after": 3600}', times=None)
        asking = asyncio.ensure_future(patiently(fake))
        await until(lambda: fake.api_requests)
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
