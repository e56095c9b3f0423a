"""
RFC 6455, the duties of a receiver, seen from outside: a server sends bytes, the echo agent answers.

The groups follow the Autobahn test suite. Every case is played in one segment and octet by octet.
The suite itself runs in test_autobahn.py where it is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from dataclasses import dataclass, field

import pytest
import trustme
from echo_agent import agent
from raw_websocket import RawPeer, close_frame, frame, raw_server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DEADLINE_S = 20


@dataclass
class Heard:
    """What the agent sent, in order, and what came after its CLOSE."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    after_close: bytes = b""

    @property
    def close_code(self) -> int | None:
        """Code of the agent's CLOSE; None when it had none."""
        opcode, payload = self.frames[-1]
        assert opcode == CLOSE, self.frames
        return int(struct.unpack(">H", payload[:2])[0]) if payload else None

    @property
    def before_close(self) -> list[tuple[int, bytes]]:
        return [f for f in self.frames if f[0] != CLOSE]


async def converse(*segments: bytes, octets: bool = False, finish: bool = True) -> Heard:
    """
    Send the segments, then CLOSE 1000 unless they hold their own end (`finish` False); listen.

    The server drops TCP when it has the agent's CLOSE, as RFC 6455 7.1.1 has it.
    """
    heard = Heard()
    sent = [*segments, close_frame(1000)] if finish else list(segments)

    async def send(peer: RawPeer) -> None:
        with contextlib.suppress(ConnectionError):  # it answered the error and went meanwhile
            for segment in sent:
                for piece in [bytes([octet]) for octet in segment] if octets else [segment]:
                    peer.send(piece)
                    await peer.writer.drain()
                    await asyncio.sleep(0)

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        sending = asyncio.create_task(send(peer))
        while not heard.frames or heard.frames[-1][0] != CLOSE:
            heard.frames.append(await peer.receive())
        await asyncio.wait([sending])
        if not peer.writer.is_closing():  # the agent may have gone while we still sent
            peer.writer.write_eof()
        heard.after_close = await peer.at_end()

    async with raw_server(script) as url:
        await asyncio.wait_for(agent(url), DEADLINE_S)
    assert heard.after_close == b"", "CLOSE is the last frame (RFC 6455 5.5.1)"
    return heard


@pytest.fixture(params=["segment", "octets"])
def octets(request):
    """Whether bytes arrive together or one by one."""
    return request.param == "octets"


# -- 1: messages, 9: large ones


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 300])
async def test_echo(opcode, size, octets):
    """A message comes back with its own type, whatever form its length has."""
    payload = b"*" * size if opcode == TEXT else bytes(i % 256 for i in range(size))
    heard = await converse(frame(opcode, payload), octets=octets)
    assert heard.before_close == [(opcode, payload)]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 1 << 20, 16 << 20])
async def test_echo_of_large_messages(size):
    """Up to 16 MiB in one frame."""
    payload = bytes(1024) * (size // 1024) + b"x" * (size % 1024)
    heard = await converse(frame(BINARY, payload))
    assert heard.before_close == [(BINARY, payload)]


async def test_many_small_messages():
    """A thousand messages in one segment, in order."""
    heard = await converse(b"".join(frame(TEXT, b"%d" % i) for i in range(1000)))
    assert [int(payload) for _, payload in heard.before_close] == list(range(1000))


async def test_many_small_fragments():
    """1 MiB in pieces of 64 bytes."""
    pieces = [frame(BINARY if i == 0 else 0, b"y" * 64, fin=False) for i in range(16_384)]
    heard = await converse(b"".join(pieces) + frame(0, b""))
    assert heard.before_close == [(BINARY, b"y" * (1 << 20))]


# -- 2: pings and pongs


@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe", b"p" * 125])
async def test_ping_is_answered(payload, octets):
    """A pong with the same payload (5.5.3)."""
    heard = await converse(frame(PING, payload), octets=octets)
    assert heard.before_close == [(PONG, payload)]


async def test_pings_are_answered_in_order(octets):
    """Ten pings, ten pongs."""
    heard = await converse(b"".join(frame(PING, b"%d" % i) for i in range(10)), octets=octets)
    assert heard.before_close == [(PONG, b"%d" % i) for i in range(10)]


async def test_unsolicited_pongs_are_ignored(octets):
    """A pong nobody asked for means nothing (5.5.3)."""
    heard = await converse(frame(PONG, b"what?") + frame(PING, b"x") + frame(PONG), octets=octets)
    assert heard.before_close == [(PONG, b"x")]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("size", [126, 127, 70_000])
async def test_long_control_frame_is_refused(opcode, size):
    """Control frames hold at most 125 bytes (5.5)."""
    heard = await converse(frame(opcode, b"\x03\xe8" + b"c" * (size - 2)), finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


# -- 3: reserved bits


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
async def test_reserved_bits_are_refused(rsv, opcode):
    """Without an extension RSV1-3 are 0 on every frame (5.2)."""
    payload = b"\x03\xe8" if opcode == CLOSE else b"x"
    heard = await converse(
        frame(TEXT, b"fine") + frame(opcode, payload, rsv=rsv) + frame(PING), finish=False
    )
    assert (heard.before_close, heard.close_code) == ([(TEXT, b"fine")], 1002)


@pytest.mark.parametrize("rsv", [1, 2, 4])
async def test_reserved_bits_on_a_continuation_are_refused(rsv, octets):
    """Also on later fragments."""
    data = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=rsv)
    heard = await converse(data, octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


# -- 4: reserved opcodes


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"unknown"])
async def test_reserved_opcodes_are_refused(opcode, payload, octets):
    """An unknown opcode fails the connection (5.2)."""
    heard = await converse(frame(opcode, payload), octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


# -- 5: fragmentation


async def test_fragments_with_control_frames_between(octets):
    """Pings inside a fragmented message are answered at once (5.4)."""
    heard = await converse(
        frame(TEXT, b"one ", fin=False) + frame(PING, b"1") + frame(0, b"two ", fin=False)
        + frame(PONG) + frame(0, b"", fin=False) + frame(PING, b"2") + frame(0, b"three"),
        octets=octets,
    )  # fmt: skip
    assert heard.before_close == [(PONG, b"1"), (PONG, b"2"), (TEXT, b"one two three")]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_fragmented_control_frame_is_refused(opcode, octets):
    """Control frames are never fragmented (5.5)."""
    data = frame(opcode, b"", fin=False) + frame(CONTINUATION, b"")
    heard = await converse(data, octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


@pytest.mark.parametrize("fin", [True, False])
async def test_continuation_of_nothing_is_refused(fin, octets):
    """A continuation frame needs a beginning (5.4), also after a finished message."""
    data = frame(TEXT, b"a") + frame(CONTINUATION, b"b", fin=fin) + frame(TEXT, b"c")
    heard = await converse(data, octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([(TEXT, b"a")], 1002)


@pytest.mark.parametrize("fin", [True, False])
async def test_message_inside_a_message_is_refused(fin, octets):
    """Fragments of one message do not mix with another's (5.4)."""
    data = frame(TEXT, b"a", fin=False) + frame(BINARY, b"b", fin=fin) + frame(CONTINUATION, b"c")
    heard = await converse(data, octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


async def test_close_inside_a_message(octets):
    """CLOSE is a control frame: it may interrupt a message, which is then never completed."""
    data = frame(TEXT, b"a", fin=False) + close_frame(3000) + frame(CONTINUATION, b"b")
    heard = await converse(data, octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 3000)


# -- 6: UTF-8

GOOD_TEXT = [
    "κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "\U0001f600\U0010ffff", "\ud7ff\ue000\ufffd\uffff\x00",
]  # fmt: skip
BAD_TEXT = [
    b"\x80", b"\xbf", b"\xfe", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xf8\x88\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xc1\xbf",
    b"\xce", b"\xf0\x9f\x98", "κ".encode() + b"\xed\xa0\x80" + b"edited",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_TEXT)
async def test_good_text(text, octets):
    """Every code point comes back."""
    heard = await converse(frame(TEXT, text.encode()), octets=octets)
    assert heard.before_close == [(TEXT, text.encode())]


@pytest.mark.parametrize("text", GOOD_TEXT)
async def test_good_text_split_inside_code_points(text):
    """A fragment may end inside a code point (5.6); only the whole message is text."""
    data = text.encode()
    pieces = [frame(TEXT if i == 0 else 0, data[i : i + 1], fin=False) for i in range(len(data))]
    heard = await converse(b"".join(pieces) + frame(CONTINUATION))
    assert heard.before_close == [(TEXT, data)]


@pytest.mark.parametrize("data", BAD_TEXT)
async def test_bad_text_is_refused(data, octets):
    """1007 (8.1), and nothing after it is taken."""
    heard = await converse(frame(TEXT, data) + frame(TEXT, b"x"), octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1007)


@pytest.mark.parametrize("data", BAD_TEXT)
async def test_bad_text_in_fragments_is_refused(data):
    """Also when the fault lies across fragments."""
    pieces = [frame(TEXT if i == 0 else 0, data[i : i + 1], fin=False) for i in range(len(data))]
    heard = await converse(b"".join(pieces) + frame(CONTINUATION), finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1007)


@pytest.mark.parametrize("data", BAD_TEXT)
async def test_binary_is_not_text(data):
    """Bytes are bytes."""
    heard = await converse(frame(BINARY, data))
    assert heard.before_close == [(BINARY, data)]


# -- 7: closing


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
             4000, 4004, 4999],
)  # fmt: skip
async def test_valid_close_codes(code, octets):
    """CLOSE is answered with CLOSE, of the same code or none."""
    heard = await converse(close_frame(code, b"bye"), octets=octets, finish=False)
    assert heard.close_code in (code, None)
    # 1000 and 1001 from us would end a gateway session.
    assert heard.close_code is None or code not in (1000, 1001)


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
)
async def test_invalid_close_codes(code, octets):
    """Codes that may not be on the wire (7.4) are a protocol error."""
    heard = await converse(close_frame(code), octets=octets, finish=False)
    assert heard.close_code == 1002


async def test_close_without_code(octets):
    """An empty CLOSE is answered by an empty CLOSE."""
    heard = await converse(close_frame(), octets=octets, finish=False)
    assert heard.close_code is None


async def test_close_with_half_a_code(octets):
    """A payload of one byte is no code (5.5.1)."""
    heard = await converse(frame(CLOSE, b"\x03"), octets=octets, finish=False)
    assert heard.close_code == 1002


async def test_longest_reason(octets):
    """123 bytes of reason fill a control frame."""
    heard = await converse(close_frame(4000, b"r" * 123), octets=octets, finish=False)
    assert heard.close_code == 4000


@pytest.mark.parametrize("reason", BAD_TEXT)
async def test_bad_reason_is_refused(reason):
    """A reason is UTF-8 (5.5.1)."""
    heard = await converse(close_frame(1000, reason), finish=False)
    assert heard.close_code in (1002, 1007)


@pytest.mark.parametrize("later", [frame(TEXT, b"x"), frame(PING), frame(0, b"x", rsv=7)])
async def test_nothing_is_taken_after_close(later, octets):
    """Whatever follows CLOSE is not answered (5.5.1)."""
    heard = await converse(close_frame(4000) + later, octets=octets, finish=False)
    assert heard.frames == [(CLOSE, b"\x0f\xa0")]


@pytest.mark.parametrize(
    "later", [frame(7), frame(TEXT, b"x", masked=True), frame(PING, fin=False)]
)
async def test_bad_frame_after_close_is_not_answered(later):
    """
    Nor is what would be refused before it.

    Octet by octet only: picows parses one frame ahead, so in one segment with CLOSE a malformed
    frame is seen first and closes with 1002.
    """
    heard = await converse(close_frame(4000) + later, octets=True, finish=False)
    assert heard.frames == [(CLOSE, b"\x0f\xa0")]


async def test_close_is_answered_once():
    """A second CLOSE, in a later segment, has no answer."""
    heard = await converse(close_frame(4000), close_frame(4001), octets=True, finish=False)
    assert heard.frames == [(CLOSE, b"\x0f\xa0")]


async def test_messages_before_close_are_answered(octets):
    """All that came before CLOSE is echoed before CLOSE is."""
    data = frame(TEXT, b"1") + frame(BINARY, b"2") + frame(PING, b"3") + close_frame(4000)
    heard = await converse(data, octets=octets, finish=False)
    assert heard.before_close == [(TEXT, b"1"), (BINARY, b"2"), (PONG, b"3")]


# -- framing itself


async def test_masked_frame_is_refused(octets):
    """A server does not mask (5.1)."""
    heard = await converse(frame(TEXT, b"x", masked=True), octets=octets, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


@pytest.mark.parametrize(
    "head", [b"\x81\x7e\x00\x05hello", b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello",
             b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff" + b"x" * 65_535],
)  # fmt: skip
async def test_length_in_more_bytes_than_it_needs_is_refused(head):
    """The shortest form must be used (5.2)."""
    heard = await converse(head, finish=False)
    assert (heard.before_close, heard.close_code) == ([], 1002)


async def test_length_beyond_63_bits_is_refused():
    """The most significant bit is 0 (5.2)."""
    heard = await converse(b"\x82\x7f\x80" + bytes(7) + b"x" * 50, finish=False)
    assert heard.before_close == []
    assert heard.close_code in (1002, 1009)


async def test_agent_speaks_tls():
    """The same over wss."""
    authority = trustme.CA()
    server, client = (ssl.create_default_context(p) for p in (ssl.Purpose.CLIENT_AUTH,
                                                              ssl.Purpose.SERVER_AUTH))  # fmt: skip
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.send(frame(TEXT, b"secret") + close_frame(4000))
        assert await peer.receive() == (TEXT, b"secret")
        assert await peer.receive() == (CLOSE, b"\x0f\xa0")

    async with raw_server(script, server) as url:
        info = await asyncio.wait_for(agent(url, client), DEADLINE_S)
    assert info.close_code == 4000


async def test_agent_returns_when_tcp_is_lost():
    """A peer that vanishes without CLOSE is not waited for."""

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.send(frame(TEXT, b"x"))
        await peer.receive()

    async with raw_server(script) as url:
        info = await asyncio.wait_for(agent(url), DEADLINE_S)
    assert info.close_code is None
