"""Opening a connection against peers that fail in every way; no socket may be left."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from deadline import until
from raw_websocket import close_frame, frame, raw_server
from recorder import Recorder, opened

from fastgw._decode import Decoder
from fastgw.connection import dial as dialling
from fastgw.connection.dial import Dial, DialState
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
    assert receiver.lost == []


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

    async def late(opening, _timeout_s):
        await opening
        raise asyncio.TimeoutError

    monkeypatch.setattr(dialling.asyncio, "wait_for", late)
    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        assert receiver.connection is connection
        assert connection.is_open
        connection.abort()
        await connection.wait_closed()


async def test_a_reset_between_tcp_and_the_upgrade_leaves_no_socket(monkeypatch):
    """picows would not close a socket that lost its peer before it was handed over."""
    connect = dialling.connect_tcp

    async def connect_and_lose(host, port):
        sock = await connect(host, port)
        await until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return sock

    async def script(peer):
        linger = struct.pack("ii", 1, 0)  # closing sends RST
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    monkeypatch.setattr(dialling, "connect_tcp", connect_and_lose)
    async with raw_server(script) as url:
        dial = Dial(Decoder(), Recorder())
        with pytest.raises(ConnectFailed):
            await dial.open(url)
        assert dial._socket.fileno() == -1


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
    assert (receiver.connection, receiver.messages, receiver.lost) == (None, [], [])


async def test_a_reset_while_the_transport_is_made_leaves_no_socket(monkeypatch):
    """aiofastnet closes no socket that was given to it and that it could not use."""

    async def ws_connect(*_, socket_factory, **__):
        socket_factory(None)
        raise ConnectionResetError(104, "Connection reset by peer")  # from SSLTransport.__init__

    async def script(peer):
        await peer.at_end()

    monkeypatch.setattr(dialling, "_ORPHANED_S", 0.0)
    monkeypatch.setattr(dialling, "ws_connect", ws_connect)
    async with raw_server(script) as url:
        dial = Dial(Decoder(), Recorder(), close_timeout_s=0.05)
        with pytest.raises(ConnectFailed, match="reset by peer"):
            await dial.open(url)
        await until(lambda: dial._socket.fileno() == -1)
