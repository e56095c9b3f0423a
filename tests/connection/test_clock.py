"""When an event was received: one reading of the clock for each read of the socket."""

import asyncio

from raw_websocket import frame, raw_server
from settled import settled

from fastgw._decode import Decoder, Interests
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
