"""The answer to the upgrade: what is a websocket in whatever spelling, and what is none."""

from __future__ import annotations

import asyncio

import pytest
from raw_websocket import SWITCH, frame, raw_server
from recorder import Recorder, opened
from settled import settled

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.connection.upgrade import MAX_HEAD_BYTES
from fastgw.errors import ConnectFailed, HandshakeRefused, NotAWebSocket

HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'


def answer(*more, status=b"101 Switching Protocols", connection=b"Upgrade", upgrade=b"websocket"):
    """Return the head of an answer to the upgrade."""
    lines = [
        b"HTTP/1.1 " + status, b"Upgrade: " + upgrade, b"Connection: " + connection,
        b"Sec-WebSocket-Accept: ACCEPT", *more,
    ]  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        answer(connection=b"keep-alive, Upgrade"),
        answer(connection=b"upgrade,keep-alive"),
        answer(b"connection: keep-alive"),
        answer(b"Connection: \tUPGRADE ", connection=b"close"),
        answer(upgrade=b"WebSocket"),
        answer(status=b"101"),
        answer(status=b"101 "),
        answer(status="101 Sí".encode("latin-1")),
        answer(b"Sec-WebSocket-Extensions:", b"Sec-WebSocket-Protocol: "),
        answer(b"Content-Length: 0"),
        answer(b"Set-Cookie: " + b"x" * 12_000, *[b"X-%d: y" % n for n in range(200)]),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + SWITCH,
    ],
    ids=[
        "two-tokens", "no-space", "two-lines", "spaces", "case", "no-reason", "empty-reason",
        "latin-reason", "empty-lists", "no-body", "long", "interim",
    ],
)  # fmt: skip
@pytest.mark.parametrize("cut", [None, 1, 700])
async def test_other_spellings_are_websockets_too(head, cut):
    """case 52: whole or in pieces; HELLO in the same segment arrives after connection_made."""

    async def script(peer):
        whole = []
        peer.send, send = whole.append, peer.send
        await peer.upgrade(frame(1, HELLO), head=head)
        (data,) = whole
        size = len(data) if cut is None else max(cut, len(data) // 100)
        for at in range(0, len(data), size):
            send(data[at : at + size])
            await peer.writer.drain()
            await asyncio.sleep(0)
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        connection.abort()
        await settled(connection)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (answer(connection=b"keep-alive"), "Connection: Upgrade"),
        (answer(connection=b"upgrades"), "Connection: Upgrade"),
        (answer(upgrade=b"h2c"), "Upgrade: websocket"),
        (answer(b"Sec-WebSocket-Extensions: permessage-deflate"), "extensions that nobody offered"),
        (answer(b"Sec-WebSocket-Protocol: mqtt"), "protocol that nobody offered"),
        (answer(b"Transfer-Encoding: chunked"), "with a body"),
        (answer(b"Content-Length: 2"), "with a body"),
        (answer(b" folded: x"), "broken header"),
        (answer(b"no colon"), "broken header"),
        (answer(b"X: a\0b"), "broken header"),
        (answer(b"X: " + b"y" * MAX_HEAD_BYTES), "bytes of head"),
        (answer().replace(b"ACCEPT", b"dGhlIHNhbXBsZSBub25jZQ=="), "websocket"),
        (answer().replace(b"Sec-WebSocket-Accept: ACCEPT\r\n", b""), "websocket"),
        (answer().replace(b"HTTP/1.1", b"HTTP/1.0"), "websocket"),
        (answer().replace(b"HTTP/1.1", b"HTTP/2"), "it says b'HTTP/2"),
        (answer(status=b"1O1 ok"), "it says"),
        (b"220 mail.example ESMTP\r\n", "it says b'220 mail"),
        (b"\x15\x03\x01\0\x02\x02", "it says"),
    ],
)
async def test_what_is_no_websocket_says_why(head, says):
    """case 52: at once, without waiting for the deadline; nothing behind it is taken."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO), head=head)
        await peer.at_end()

    receiver = Recorder()
    async with raw_server(script) as url:
        with pytest.raises(NotAWebSocket, match=says):
            await Dial(Decoder(), receiver).open(url)
    assert (receiver.connection, receiver.messages) == (None, [])


async def test_a_subprotocol_that_was_offered_may_be_chosen():
    """Only what nobody asked for is refused."""

    async def script(peer):
        await peer.upgrade(head=answer(b"Sec-WebSocket-Protocol: chat"))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, _ = await opened(url, headers={"Sec-WebSocket-Protocol": "chat"})
        connection.abort()
        await settled(connection)


@pytest.mark.parametrize("said", [b"", b"HTT", SWITCH[:40], b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_peer_that_hangs_up_before_its_answer_is_whole_has_not_answered(said):
    """case 1: wherever it breaks off."""

    async def script(peer):
        await peer.read_request()
        peer.send(said)

    async with raw_server(script) as url:
        with pytest.raises(ConnectFailed, match="before it answered the upgrade"):
            await opened(url)


async def test_a_refusal_with_a_redirect_is_a_refusal():
    """Nobody is led to another host with our headers."""

    async def script(peer):
        await peer.read_request()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.invalid/\r\n\r\n")
        await peer.at_end()

    async with raw_server(script) as url:
        with pytest.raises(HandshakeRefused) as caught:
            await opened(url)
    assert caught.value.status == 302


async def test_the_request_names_host_and_resource():
    """Host without the password that a URL may hold; the query as it is."""
    seen = []

    async def script(peer):
        await peer.upgrade()
        seen.append(peer.request)
        await peer.at_end()

    async with raw_server(script) as url:
        port = url.rstrip("/").rpartition(":")[2]
        connection, _ = await opened(
            f"ws://me:secret@localhost:{port}?v=10&encoding=json", headers={"User-Agent": "x"}
        )
        connection.abort()
        await settled(connection)
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET /?v=10&encoding=json HTTP/1.1"
    assert f"Host: localhost:{port}".encode() in lines
    assert b"User-Agent: x" in lines
    assert b"secret" not in seen[0]
