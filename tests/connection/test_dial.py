"""Opening a connection against peers that fail in every way; no socket may be left."""

from __future__ import annotations

import asyncio
import datetime
import gc
import socket
import ssl

import pytest
from deadline import until
from raw_websocket import close_frame, frame, raw_server
from recorder import Recorder, opened
from settled import settled

from fastgw._decode import Decoder
from fastgw.connection import reach as reaching
from fastgw.connection.dial import Dial, DialState
from fastgw.connection.lookup import Address
from fastgw.connection.upgrade import Upgrade
from fastgw.errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)

HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'


async def test_cancelled_open_leaves_no_connection():
    """case 48: a cancelled open closes its socket at once; no listener runs."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.read_request()
        asked.set()
        await peer.at_end()
        ended.set()

    async with raw_server(script) as url:
        receiver = Recorder()
        task = asyncio.ensure_future(Dial(Decoder(), receiver).open(url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 10)
    assert receiver.connection is None
    assert receiver.ended == []


async def test_what_reads_the_answer_goes_when_it_is_read(fake):
    """It holds 16 KiB for a head of any size, and an open connection needs none of it."""
    receiver = Recorder()
    dial = Dial(Decoder(), receiver)
    connection = await dial.open(fake.url)
    gc.collect()
    left = [one for one in gc.get_objects() if isinstance(one, Upgrade) and one.answered.done()]
    assert left == []
    connection.close(4000)
    await settled(connection)


async def test_open_times_out_with_its_deadline():
    """case 2: an unanswered upgrade ends with ConnectTimeout, and its socket is closed."""
    ended = asyncio.Event()

    async def script(peer):
        await peer.at_end()
        ended.set()

    async with raw_server(script) as url:
        with pytest.raises(ConnectTimeout) as caught:
            await opened(url, open_timeout_s=0.1)
        assert caught.value.timeout_s == 0.1
        await asyncio.wait_for(ended.wait(), 10)


async def test_tcp_closed_before_the_answer_is_an_error():
    """case 1: picows returns (transport, None) when TCP ends during the upgrade; we raise."""

    async def script(peer):
        await peer.read_request()

    async with raw_server(script) as url:
        with pytest.raises(ConnectFailed, match="before it answered the upgrade"):
            await opened(url)


@pytest.mark.parametrize("status", [400, 403, 429, 503, 520])
async def test_refused_upgrade_carries_the_status(status):
    """Any HTTP status is reported, also those that http.HTTPStatus does not know."""

    async def script(peer):
        await peer.read_request()
        peer.send(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % status)
        await peer.at_end()

    async with raw_server(script) as url:
        with pytest.raises(HandshakeRefused) as caught:
            await opened(url)
    assert caught.value.status == status
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("asked", "waits"), [(b"inf", 172_800), (b"9" * 400, 172_800), (b"nan", None), (b"-1", None)]
)
async def test_retry_after_is_bounded(asked, waits):
    """A Retry-After that is no sensible number cannot make a shard wait for ever."""

    async def script(peer):
        await peer.read_request()
        peer.send(b"HTTP/1.1 503 No\r\nRetry-After: " + asked + b"\r\nContent-Length: 0\r\n\r\n")
        await peer.at_end()

    async with raw_server(script) as url:
        with pytest.raises(HandshakeRefused) as caught:
            await opened(url)
    assert caught.value.retry_after_s == waits


@pytest.mark.parametrize(
    "answer", [b"220 mail.example ESMTP\r\n\r\n", b"\x15\x03\x01\0\x02\x02\r\n\r\n"]
)
async def test_garbage_is_not_a_websocket(answer):
    """A peer that speaks something else gives NotAWebSocket."""

    async def script(peer):
        peer.send(answer)
        await peer.at_end()

    async with raw_server(script) as url:
        with pytest.raises(NotAWebSocket):
            await opened(url, open_timeout_s=5)


async def test_refused_tcp_says_so():
    """Nobody listens on the port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectFailed, match="refused the connection"):
            await opened(f"ws://127.0.0.1:{port}/")


async def test_unknown_host_says_so():
    """A name that cannot be resolved (RFC 6761: .invalid never can)."""
    with pytest.raises(ConnectFailed, match="cannot resolve"):
        await opened("ws://gateway.invalid/")


@pytest.mark.parametrize("url", ["https://localhost/", "localhost", "wss://"])
async def test_other_urls_are_usage_errors(url):
    """Only ws and wss URLs with a host can be opened."""
    with pytest.raises(UsageError, match="wss://"):
        await opened(url)


async def test_certificate_of_an_unknown_authority_is_refused(server_tls):
    """A certificate that nothing vouches for is CertificateRefused; the text says what to do."""

    async def script(peer):
        await peer.upgrade()

    async with raw_server(script, server_tls) as url:
        with pytest.raises(CertificateRefused, match="ssl_context"):
            await opened(url)


async def test_a_deadline_that_strikes_just_after_the_upgrade_takes_nothing_back(monkeypatch):
    """The receiver has heard of the connection already: `open` returns it."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.at_end()

    shake_hands = Dial._shake_hands

    async def shake_hands_and_linger(*details, **more):
        await shake_hands(*details, **more)
        await asyncio.Event().wait()

    monkeypatch.setattr(Dial, "_shake_hands", shake_hands_and_linger)
    async with raw_server(script) as url:
        connection, receiver = await opened(url, open_timeout_s=1.0)
        assert receiver.connection is connection
        assert connection.is_open
        connection.abort()
        await settled(connection)


async def test_upgrade_that_comes_after_the_dial_was_abandoned_is_dropped():
    """An answer that arrives with the abort opens nothing, and a CLOSE behind it answers nobody."""

    async def script(peer):
        await peer.upgrade(close_frame(4000) + frame(1, HELLO))
        await peer.at_end()

    receiver = Recorder()
    dial = Dial(Decoder(), receiver)
    make_listener = dial._make_listener

    def abandon_first(*details):
        dial.abandon()
        return make_listener(*details)

    dial._make_listener = abandon_first
    async with raw_server(script) as url:
        with pytest.raises(ConnectFailed):
            await dial.open(url)
    assert dial.state is DialState.ABANDONED
    assert (receiver.connection, receiver.messages, receiver.ended) == (None, [], [])


async def test_a_reset_while_the_transport_is_made_leaves_no_socket(monkeypatch):
    """aiofastnet closes no socket that was given to it and that it could not use."""
    given = []

    async def create_connection(*_, sock, **__):
        given.append(sock)
        raise ConnectionResetError(104, "Connection reset by peer")  # from SSLTransport.__init__

    async def script(peer):
        await peer.at_end()

    monkeypatch.setattr(reaching, "_ABANDONED_S", 0.0)
    monkeypatch.setattr(reaching.aiofastnet, "create_connection", create_connection)
    async with raw_server(script) as url:
        with pytest.raises(ConnectFailed, match="reset by peer"):
            await opened(url)
        await until(lambda: given[-1].fileno() == -1)


async def refuses_tls(peer):
    """Read of the ClientHello, and say something else."""
    await peer.reader.read(100)
    peer.send(b"220 mail.example ESMTP\r\n")
    await peer.at_end()


async def hangs_up(peer):
    """Read, and go."""
    await peer.reader.read(100)


async def stays_silent(peer):
    """Take everything, and answer nothing."""
    await peer.at_end()


async def drops_an_answer(peer):
    """Break off in the middle of the answer."""
    await peer.read_request()
    peer.send(b"HTTP/1.1 101 Swi")


async def is_no_websocket(peer):
    """Answer in another language."""
    await peer.read_request()
    peer.send(b"HTTP/1.1 101 OK\r\nUpgrade: tea\r\n\r\n")
    await peer.at_end()


async def has_no_room(peer):
    """Answer as a service that is alive does."""
    await peer.read_request()
    peer.send(b"HTTP/1.1 503 Full\r\n\r\n")
    await peer.at_end()


async def works(peer):
    """Be the websocket that was looked for."""
    await peer.upgrade(frame(1, HELLO))
    await peer.at_end()


def addresses_of(monkeypatch, *urls):
    """Let one name have the addresses of these servers, in this order."""
    ports = [int(url.rstrip("/").rpartition(":")[2]) for url in urls]
    found = [Address(socket.AF_INET, ("127.0.0.1", port)) for port in ports]

    async def resolve(host, port):
        return list(found)

    monkeypatch.setattr(reaching, "resolve", resolve)


@pytest.mark.parametrize(
    ("first", "is_secure"),
    [
        (refuses_tls, True), (hangs_up, True), (stays_silent, True), (works, "of another name"),
        (hangs_up, False), (stays_silent, False), (drops_an_answer, False),
        (is_no_websocket, False),
    ],
)  # fmt: skip
async def test_no_error_of_one_address_ends_it(
    first, is_secure, monkeypatch, authority, server_tls, client_tls
):
    """case 49: however far it got: the next address is tried, within the same deadline."""
    other_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.test").configure_cert(other_tls)
    first_tls = other_tls if is_secure == "of another name" else None
    good_tls = server_tls if is_secure else None
    async with raw_server(first, first_tls) as bad, raw_server(works, good_tls) as good:
        addresses_of(monkeypatch, bad, good)
        connection, receiver = await opened(good, ssl_context=client_tls, open_timeout_s=2.0)
        await receiver.until(lambda: receiver.messages)
        connection.abort()
        await settled(connection)


async def test_a_refusal_of_the_service_itself_ends_it(monkeypatch):
    """Its other addresses are the same service, which would be asked twice."""
    async with raw_server(has_no_room) as first, raw_server(works) as second:
        addresses_of(monkeypatch, first, second)
        with pytest.raises(HandshakeRefused):
            await opened(first)


async def test_the_failure_that_got_further_is_told(monkeypatch):
    """A second address that refuses TCP does not hide what is wrong with the first."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with raw_server(is_no_websocket) as first:
            addresses_of(monkeypatch, first, f"ws://x:{unused.getsockname()[1]}")
            with pytest.raises(NotAWebSocket, match="Upgrade: websocket"):
                await opened(first)


@pytest.mark.parametrize("code", [9, 11])
async def test_a_certificate_whose_time_has_not_come_is_no_refusal(monkeypatch, code):
    """The clock of this machine may still have to be set: it is tried again."""

    async def create_connection(*_, sock, **__):
        error = ssl.SSLCertVerificationError("certificate is not yet valid")
        error.verify_code, error.verify_message = code, "certificate is not yet valid"
        raise error

    monkeypatch.setattr(reaching, "_ABANDONED_S", 0.0)
    monkeypatch.setattr(reaching.aiofastnet, "create_connection", create_connection)
    async with raw_server(stays_silent) as url:
        with pytest.raises(ConnectFailed, match=r"not yet valid.*clock") as caught:
            await opened(url)
    assert not isinstance(caught.value, CertificateRefused)


async def test_a_certificate_of_tomorrow_is_no_refusal(authority, client_tls):
    """case 53: the same, from a real handshake."""
    now = datetime.datetime.now(datetime.timezone.utc)
    tomorrow, later = (now + datetime.timedelta(days=days) for days in (1, 9))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_before=tomorrow, not_after=later).configure_cert(context)
    async with raw_server(works, context) as url:
        with pytest.raises(ConnectFailed, match=r"not yet valid.*clock") as caught:
            await opened(url, ssl_context=client_tls)
    assert not isinstance(caught.value, CertificateRefused)
