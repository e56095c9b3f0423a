"""When an event was received: one reading of the clock for each read of the socket."""

import asyncio
import time

from deadline import until
from raw_websocket import frame, raw_server
from settled import settled

from fastgw._decode import Decoder, Interests
from fastgw.connection import listener
from fastgw.connection.dial import Dial

TEXT, PING = 1, 9
EVENT = b'{"t":"X","s":%d,"op":0,"d":null}'


class Deaf:
    """A receiver that does not care."""

    def connection_made(self, connection):
        pass

    def message_received(self, message):
        pass

    def connection_ended(self, info):
        pass


async def test_a_ping_at_the_end_of_a_read_does_not_keep_the_old_time():
    """The next read has its own time, whatever kind of frame ended the last one."""
    events = []
    interests = Interests()
    interests.want("X", events.append)
    heard = asyncio.Event()

    async def script(peer):
        await peer.upgrade()
        peer.send(frame(TEXT, EVENT % 1) + frame(TEXT, EVENT % 2) + frame(PING))
        await peer.receive()
        await asyncio.sleep(0.05)
        peer.send(frame(TEXT, EVENT % 3) + frame(PING))
        await peer.receive()
        heard.set()
        await peer.at_end()

    async with raw_server(script) as url:
        dial = Dial(Decoder(interests=interests), Deaf(), close_timeout_s=1.0)
        connection = await dial.open(url)
        await asyncio.wait_for(heard.wait(), 10)
        connection.abort()
        await settled(connection)
    first, second, third = (event.received_at for event in events)
    assert first == second
    assert third >= first + 0.04


async def received(url, handler, turns=None):
    """Take the events X of a connection until the handler has seen the last one, number 64."""
    seen = []

    def taken(event):
        handler(event)
        seen.append(event.sequence)

    interests = Interests()
    interests.want("X", taken)
    dial = Dial(Decoder(interests=interests), Deaf(), close_timeout_s=1.0, turns=turns)
    connection = await dial.open(url)
    await until(lambda: seen[-1:] == [64])
    connection.abort()
    await settled(connection)


async def sends_all(peer):
    """Send 64 events at once: one delivery in as many is timed."""
    await peer.upgrade()
    peer.send(b"".join(frame(TEXT, EVENT % sequence) for sequence in range(1, 65)))
    await peer.at_end()


async def test_user_code_compares_it_with_the_monotonic_clock():
    """It is the clock of `time.monotonic`, whatever that is on this system."""
    began_at, ages_s, waits_s = time.monotonic(), [], []

    def handler(event):
        ages_s.append(event.received_at - began_at)
        waits_s.append(time.monotonic() - event.received_at)

    async with raw_server(sends_all) as url:
        await received(url, handler)
    assert min(ages_s) >= 0.0
    assert min(waits_s) >= 0.0


async def test_a_wait_is_of_one_clock(monkeypatch):
    """`time.monotonic` need not be the system's clock that times handlers, as on macOS."""
    now, timed = 1e9, []
    monkeypatch.setattr(listener, "monotonic", lambda: now)
    turns = listener.Turns(3600.0, lambda waited_s, took_s: timed.append((waited_s, took_s)))

    def handler(event):
        nonlocal now
        if event.sequence == 63:
            now += 2.0

    async with raw_server(sends_all) as url:
        await received(url, handler, turns)
    ((waited_s, took_s),) = timed
    assert waited_s == 2.0
    assert 0.0 <= took_s < 1e6
