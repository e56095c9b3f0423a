"""One connection against a peer that obeys no rule; each picows trap is a test."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import ssl
import weakref

import pytest
from deadline import scaled, until
from raw_websocket import close_frame, frame, raw_server
from recorder import Recorder, opened
from settled import settled

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.connection.listener import Tap, refused_close_in
from fastgw.connection.websocket import ConnectionState
from fastgw.errors import (
    ConnectFailed,
    ConnectionClosed,
    FastgwError,
    MessageTooBig,
    ProtocolError,
)
from fastgw.words import Initiator

HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'
EVENT = b'{"t":"X","s":1,"op":0,"d":{"guild_id":"7"}}'


async def test_message_in_the_segment_of_the_upgrade_is_not_lost():
    """Bytes that follow the 101 at once reach the receiver after connection_made."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        assert receiver.connection is connection
        assert receiver.messages[0].data == {"heartbeat_interval": 41250}
        connection.abort()
        await settled(connection)


async def test_target_is_called_and_its_error_reported():
    """An event goes to its target; what that raises goes to `failed`, which is told whose."""

    async def script(peer):
        await peer.upgrade(frame(1, EVENT) + frame(1, HELLO))
        await peer.at_end()

    def target(event):
        raise KeyError(event.guild_id)

    decoder = Decoder(interests=[])
    decoder.interests.want("X", target)
    async with raw_server(script) as url:
        connection, receiver = await opened(url, decoder=decoder)
        await receiver.until(lambda: receiver.messages)
        ((event, failing, error),) = receiver.failures
        assert event.name == "X"
        assert failing is target
        assert error.args == (7,)
        assert connection.is_open
        connection.abort()
        await settled(connection)


async def _nothing():
    pass


def _yields():
    yield


async def _yields_async():
    yield


@pytest.mark.parametrize("make", [_nothing, _yields, _yields_async])
async def test_what_may_run_is_handed_on_when_a_target_returns_it(make):
    """A coroutine or generator that nobody runs would be lost in silence."""

    async def script(peer):
        await peer.upgrade(frame(1, EVENT) + frame(1, HELLO))
        await peer.at_end()

    def target(event):
        return make()

    decoder = Decoder(interests=[])
    decoder.interests.want("X", target)
    async with raw_server(script) as url:
        connection, receiver = await opened(url, decoder=decoder)
        await receiver.until(lambda: receiver.messages)
        ((event, returning, result),) = receiver.returns
        assert event.name == "X"
        assert returning is target
        assert result.__name__ == make.__name__
        if make is _nothing:
            await result
        connection.abort()
        await settled(connection)


@pytest.mark.parametrize("value", [None, 7, "text", [1], {"a": 1}, object(), print])
async def test_other_values_that_a_target_returns_are_ignored(value):
    """Nobody is called for them."""

    async def script(peer):
        await peer.upgrade(frame(1, EVENT) + frame(1, HELLO))
        await peer.at_end()

    decoder = Decoder(interests=[])
    decoder.interests.want("X", lambda event: value)
    async with raw_server(script) as url:
        connection, receiver = await opened(url, decoder=decoder)
        await receiver.until(lambda: receiver.messages)
        assert not receiver.returns
        connection.abort()
        await settled(connection)


async def test_internal_event_reaches_receiver_before_its_target():
    """What the library needs itself comes to the receiver first."""

    async def script(peer):
        await peer.upgrade(frame(1, EVENT))
        await peer.at_end()

    order: list[str] = []
    decoder = Decoder(interests=[])
    decoder.interests.want("X", lambda event: order.append(f"target {len(receivers[0].messages)}"))
    decoder.interests.want("X", internal=True)
    receivers: list[Recorder] = []

    async with raw_server(script) as url:
        receiver = Recorder()
        receivers.append(receiver)
        connection = await Dial(decoder, receiver, close_timeout_s=1).open(url)
        await receiver.until(lambda: receiver.messages and order)
        assert order == ["target 1"]
        connection.abort()
        await settled(connection)


@pytest.mark.parametrize(
    ("code", "answer"), [(4004, b"\x0f\xa4"), (None, b""), (1000, b""), (1001, b"")]
)
async def test_close_of_the_peer_is_answered_once_and_settles(code, answer):
    """case 33: CLOSE is answered, never with 1000 or 1001, and reported; nothing follows it."""
    seen = []

    async def script(peer):
        await peer.upgrade(close_frame(code, b"why" if code else b"") + frame(1, HELLO))
        seen.append(await peer.receive())
        peer.writer.close()
        seen.append(await peer.at_end())

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (code, Initiator.SERVICE)
    assert info.reason == ("why" if code else "")
    assert receiver.messages == []
    assert seen == [(8, answer), b""]


async def test_close_is_reported_before_a_lingering_peer_lets_go():
    """A peer that sends CLOSE and keeps TCP open costs us no time: the report comes at once."""

    async def script(peer):
        await peer.upgrade(close_frame(4000))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url, close_timeout_s=0.2)
        await receiver.until(lambda: receiver.ended)
        assert not connection.is_open
        await settled(connection)
    assert len(receiver.ended) == 1


async def test_our_close_waits_for_the_answer():
    """`close` sends the code; the peer's answer settles it as ours."""

    async def script(peer):
        await peer.upgrade()
        code = await peer.receive()
        peer.send(frame(1, HELLO) + close_frame(4000))
        assert code == (8, b"\x0f\xa0bye")

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        connection.close(4000, "bye")
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator, receiver.messages) == (4000, Initiator.CLIENT, [])


async def test_our_close_reads_again():
    """The peer's answer is waited for, so it must be seen, also while reading was paused."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.receive()
        peer.send(close_frame(4000, b"seen"))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url, close_timeout_s=scaled(30.0))
        await receiver.until(lambda: receiver.messages)
        connection.pause_reading()
        connection.close(4000)
        await receiver.until(lambda: receiver.ended)
        connection.abort()
        await settled(connection)
    assert receiver.ended[0].reason == "seen"


async def test_close_of_the_peer_that_crosses_ours_is_the_peers():
    """A CLOSE with another code than ours is no answer: a 4004 must not be swallowed."""

    async def script(peer):
        await peer.upgrade()
        await peer.receive()
        peer.send(close_frame(4004, b"Authentication failed."))

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        connection.close(4000)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (4004, Initiator.SERVICE)
    assert info.reason == "Authentication failed."


async def test_our_close_does_not_wait_for_ever():
    """case 18: a peer that never answers CLOSE is dropped after close_timeout_s."""

    async def script(peer):
        await peer.upgrade()
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url, close_timeout_s=0.05)
        connection.close(4000)
        info = await asyncio.wait_for(settled(connection), 10)
    assert info is receiver.ended[0]
    assert info.close_code == 4000


async def test_send_after_the_end_raises():
    """case 37: picows would drop the message in silence; we say that the connection is not open."""

    async def script(peer):
        await peer.upgrade(close_frame(4009))

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.ended)
        with pytest.raises(ConnectionClosed) as caught:
            connection.send(b"{}")
        assert caught.value.close_code == 4009
        await settled(connection)


async def test_send_reaches_the_peer_as_masked_text():
    """A message goes out as one text frame."""
    seen = []

    async def script(peer):
        await peer.upgrade()
        seen.append(await peer.receive())

    async with raw_server(script) as url:
        connection, _ = await opened(url)
        connection.send(b'{"op":1,"d":null}')
        await settled(connection)
    assert seen == [(1, b'{"op":1,"d":null}')]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(1, HELLO, rsv=4), 1002),
        (frame(9, b"", rsv=1), 1002),
        (frame(0, b"x"), 1002),
        (frame(1, b"{", fin=False) + frame(1, b"}"), 1002),
        (close_frame(1005), 1002),
        (close_frame(999), 1002),
        (close_frame(5000), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(1, b"[1]"), 4000),
        (frame(3, b""), 1002),
        (frame(1, HELLO, masked=True), 1002),
    ],
    ids=[
        "rsv",
        "rsv-ping",
        "order",
        "interleaved",
        "1005",
        "999",
        "5000",
        "half-code",
        "array",
        "opcode",
        "mask",
    ],
)
async def test_broken_rule_closes_with_its_code(data, code):
    """What RFC 6455 forbids closes the connection with the right code; nothing follows it."""
    seen = []

    async def script(peer):
        await peer.upgrade(data + frame(1, HELLO))
        seen.append(await peer.receive())
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url, close_timeout_s=0.2)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (code, Initiator.CLIENT)
    assert isinstance(info.error, ProtocolError)
    assert receiver.messages == []
    assert seen[0][0] == 8
    assert seen[0][1][:2] == code.to_bytes(2, "big")


async def test_oversized_frame_is_refused_and_not_delivered():
    """case 46: picows delivers a frame over its limit; we refuse it with 1009 and the numbers."""

    async def script(peer):
        await peer.upgrade(frame(1, b'{"op":11,"d":"' + b"x" * 200 + b'"}'))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(
            url, decoder=Decoder(max_message_bytes=100), close_timeout_s=0.2
        )
        await settled(connection)
    (info,) = receiver.ended
    assert info.close_code == 1009
    assert isinstance(info.error, (MessageTooBig, ProtocolError))
    assert receiver.messages == []


async def test_ping_is_answered_with_its_payload():
    """PING between fragments is answered with the same payload, and the message completes."""
    seen = []

    async def script(peer):
        await peer.upgrade(frame(1, HELLO[:9], fin=False) + frame(9, b"hi") + frame(0, HELLO[9:]))
        seen.append(await peer.receive())
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        await until(lambda: seen)
        connection.abort()
        await settled(connection)
    assert seen == [(10, b"hi")]


async def test_ping_is_not_answered_after_our_close():
    """RFC 6455 5.5.1: nothing follows CLOSE."""
    seen = []

    async def script(peer):
        await peer.upgrade()
        seen.append(await peer.receive())
        peer.send(frame(9, b"hi") + close_frame(4000))
        seen.append(await peer.at_end())

    async with raw_server(script) as url:
        connection, _ = await opened(url)
        connection.close(4000)
        await settled(connection)
    assert seen == [(8, b"\x0f\xa0"), b""]


@pytest.mark.parametrize("is_secure", [False, True])
async def test_pings_of_a_peer_that_does_not_read_are_not_kept(is_secure, server_tls, client_tls):
    """One PONG is owed, for the latest (RFC 6455 5.5.3); it goes out when the peer reads again."""
    flooded, read_on = asyncio.Event(), asyncio.Event()
    pongs = []

    async def script(peer):
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        for number in range(0, 200_000, 1_000):
            pings = [frame(9, b"%0125d" % (number + n)) for n in range(1_000)]
            peer.send(b"".join(pings))
            await peer.writer.drain()
        peer.send(frame(1, HELLO))
        flooded.set()
        await read_on.wait()
        peer.writer.transport.resume_reading()
        while not pongs or pongs[-1] != (10, b"%0125d" % 199_999):
            pongs.append(await peer.receive())

    async with raw_server(script, server_tls if is_secure else None) as url:
        connection, receiver = await opened(url, ssl_context=client_tls)
        await asyncio.wait_for(flooded.wait(), scaled(30))
        await receiver.until(lambda: receiver.messages)
        kept = connection._transport.underlying_transport.get_write_buffer_size()
        assert 0 < kept < 256 * 1024
        read_on.set()
        await asyncio.wait_for(settled(connection), scaled(30))
    assert len(pongs) < 200_000
    assert pongs == sorted(pongs)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a bug"), ProtocolError("a bug", close_code=1002)]
)
async def test_an_error_of_our_own_is_reported_as_ours(own_errors, caplog, error):
    """Whatever takes a message may fail: logged with its traceback, closed resumably, no more."""
    seen = []

    class Failing(Recorder):
        def message_received(self, message):
            super().message_received(message)
            raise error

    async def script(peer):
        await peer.upgrade(frame(1, HELLO) + frame(1, HELLO))
        seen.append(await peer.receive())
        peer.send(frame(1, HELLO) + close_frame())
        await peer.at_end()

    receiver = Failing()
    async with raw_server(script) as url:
        connection = await Dial(Decoder(), receiver, close_timeout_s=0.2).open(url)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (4000, Initiator.CLIENT)
    assert isinstance(info.error, FastgwError)
    assert info.error.__cause__ is error
    assert "an error in fastgw itself" in str(info.error)
    assert len(receiver.messages) == 1
    assert seen == [(8, b"\x0f\xa0")]
    assert len(own_errors) == 1
    assert f"{type(error).__name__}: a bug" in caplog.text
    own_errors.clear()


async def test_a_receiver_that_fails_at_the_beginning_hears_of_the_end(own_errors):
    """connection_made is called by the listener, too."""

    class Failing(Recorder):
        def connection_made(self, connection):
            raise ZeroDivisionError("a bug")

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.at_end()

    receiver = Failing()
    async with raw_server(script) as url:
        connection = await Dial(Decoder(), receiver, close_timeout_s=0.2).open(url)
        await settled(connection)
    assert [info.initiator for info in receiver.ended] == [Initiator.CLIENT]
    assert receiver.messages == []
    assert own_errors
    own_errors.clear()


@pytest.mark.parametrize("answer", [close_frame(), close_frame(1002), frame(1, HELLO)])
async def test_what_picows_ended_is_not_ended_by_the_service(answer):
    """A frame that picows refuses is reported at once; what the peer says then changes nothing."""

    async def script(peer):
        await peer.upgrade(close_frame(1005))
        await peer.receive()
        peer.send(answer)
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url, close_timeout_s=0.2)
        await receiver.until(lambda: receiver.ended)
        assert connection.state is ConnectionState.ENDED
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (1002, Initiator.CLIENT)
    assert isinstance(info.error, ProtocolError)
    assert "1005" in str(info.error)
    assert receiver.messages == []


@pytest.mark.parametrize("behind", [b"", frame(1, HELLO), b"\x88\x05\xfe\xffabc"])
@pytest.mark.parametrize("before", [b"", frame(1, HELLO), frame(10, b"\x88\x03\x0f\xa4\xc3")])
@pytest.mark.parametrize("cut", [None, 1])
async def test_a_close_with_a_reason_cut_inside_a_character_keeps_its_code(before, behind, cut):
    """4004 is 4004, whatever else is wrong with it; alone, among other frames, in pieces."""
    told = before + close_frame(4004, "nicht gültig".encode()[:8]) + behind

    async def script(peer):
        await peer.upgrade()
        for at in range(0, len(told), cut or len(told)):
            peer.send(told[at : at + (cut or len(told))])
            await asyncio.sleep(0)
        await peer.at_end()

    decoder = Decoder(interests=[], compression="none")
    async with raw_server(script) as url:
        connection, receiver = await opened(url, decoder=decoder, close_timeout_s=0.2)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.reason) == (4004, "nicht g\N{REPLACEMENT CHARACTER}")
    assert info.initiator is Initiator.SERVICE


@pytest.mark.parametrize(
    "tail",
    [
        b"", b"\x88", b"\x88\x02\x0f\xa4", b"\x88\x05\x0f\xa4abc", b"\x88\x09\x0f\xa4\xc3",
        b"\x88\x03\x03\xed\xc3", b"\x08\x03\x0f\xa4\xc3", b"\x88\x7e\x0f\xa4\xc3" + b"x" * 130,
    ],
)  # fmt: skip
def test_only_a_whole_close_frame_is_found_again(tail):
    """Neither half of one, nor one that picows would have taken, nor an invalid code."""
    assert refused_close_in(tail) is None
    assert refused_close_in(tail + b"\x88\x04\x0f\xa4\xc3!") == (4004, "\N{REPLACEMENT CHARACTER}!")


async def test_lost_tcp_is_reported_without_a_code():
    """case 32: TCP that ends without CLOSE is nobody's close: no code, initiator transport."""

    async def script(peer):
        await peer.upgrade()
        peer.writer.transport.abort()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await settled(connection)
    (info,) = receiver.ended
    assert (info.close_code, info.initiator) == (None, Initiator.TRANSPORT)


async def test_tls_connection_counts_bytes_and_aborts(authority, server_tls):
    """Over TLS: messages arrive, bytes_received grows, a dead peer does not delay abort."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.at_end()

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with raw_server(script, server_tls) as url:
        connection, receiver = await opened(url, ssl_context=trusting)
        await receiver.until(lambda: receiver.messages)
        assert connection.bytes_received() > 0
        connection.abort()
        await asyncio.wait_for(settled(connection), 10)


async def test_bytes_of_an_unfinished_frame_are_counted():
    """A frame that has not wholly arrived is life already (where the system tells)."""
    go_on = asyncio.Event()

    async def script(peer):
        data = frame(1, HELLO)
        await peer.upgrade(data[:20])
        await go_on.wait()
        peer.send(data[20:40])
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        before = connection.bytes_received()
        go_on.set()
        if before == 0:
            pytest.skip("this system does not tell bytes below the frame layer")
        await until(lambda: connection.bytes_received() > before)
        assert receiver.messages == []
        connection.abort()
        await settled(connection)


async def test_paused_reading_stops_delivery():
    """While reading is paused nothing new is delivered; resuming delivers it."""
    go_on = asyncio.Event()

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await go_on.wait()
        peer.send(frame(1, HELLO))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        connection.pause_reading()
        go_on.set()
        await until(lambda: select.select([connection._socket], [], [], 0)[0])
        assert len(receiver.messages) == 1
        connection.resume_reading()
        await receiver.until(lambda: len(receiver.messages) == 2)
        connection.abort()
        await settled(connection)


def test_one_read_brings_only_so_much():
    """picows doubles the buffer that a read has filled; most of a large one is not lent."""
    whole = bytearray(1_000_000)

    class Protocol(asyncio.BufferedProtocol):
        pause_writing = resume_writing = None

        def get_buffer(self, size_hint):
            return memoryview(whole)

    tap = Tap(Protocol())
    lent = tap.get_buffer(-1)
    lent[:2] = b"hi"
    assert len(lent) == 262_144
    assert whole.startswith(b"hi")
    assert tap.buffer_bytes == len(whole)


async def test_a_dropped_connection_reports_nothing():
    """What is dropped is nobody's business any more: no message, no end, whatever still comes."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.receive()
        peer.send(frame(1, HELLO) + close_frame(4004))
        await peer.at_end()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        connection.send(b"{}")
        connection.abandon()
        assert connection.state is ConnectionState.ENDED
        await asyncio.wait_for(settled(connection), 10)
    assert connection.state is ConnectionState.SETTLED
    assert (len(receiver.messages), receiver.ended) == (1, [])


async def test_bytes_are_still_known_when_the_socket_is_gone():
    """The count never goes down: a smaller one would look as if bytes had arrived now."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        await peer.receive()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await receiver.until(lambda: receiver.messages)
        before = connection.bytes_received()
        connection.send(b"{}")
        await settled(connection)
        assert connection.bytes_received() == before


async def test_connection_is_freed_after_its_end():
    """Nothing keeps a finished connection alive: no cycle through picows or the watcher."""

    async def script(peer):
        await peer.upgrade()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        await settled(connection)
        left = weakref.ref(connection)
        del connection, receiver
        await until(lambda: gc.collect() >= 0 and left() is None)


@pytest.mark.parametrize("end", ["of the peer", "of ours", "never made"])
async def test_an_ended_connection_is_freed_at_once(end):
    """Not by the garbage collector: a decoder and its window may hold megabytes."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO)) if end != "never made" else await peer.read_request()
        if end == "of ours":
            await peer.at_end()

    gc.collect()
    gc.disable()
    try:
        async with raw_server(script) as url:
            receiver = Recorder()
            dial = Dial(Decoder(interests=[]), receiver)
            left = [weakref.ref(dial)]
            with contextlib.suppress(ConnectFailed):
                await dial.open(url)
            if dial.connection is not None:
                left.append(weakref.ref(dial.connection))
                if end == "of ours":
                    dial.connection.abort()
                await settled(dial.connection)
            dial = receiver.connection = None
            await until(lambda: not any(thing() for thing in left))
    finally:
        gc.enable()
