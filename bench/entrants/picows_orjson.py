"""
A hand-written client on picows with a Python listener, and orjson.

With `peek` it looks for the event's name at the start of the bytes and parses only what it wants;
the sequence is read from the newest message when a heartbeat is due.
"""

from __future__ import annotations

import asyncio

import picows

from ..rig.client import Job
from ..rig.meter import Meter
from .handwritten import Client, decompressor

_START = b'{"t":"'


class Listener(picows.WSListener):
    """Decompresses each message straight from picows' buffer."""

    def __init__(self, job: Job, meter: Meter) -> None:
        super().__init__()
        self.client = Client(job, meter)
        self.decompress = decompressor(job.compression)
        self.take = self.client.take
        self.parts = bytearray()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.client.send = lambda command: transport.send(picows.WSMsgType.TEXT, command)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind is picows.WSMsgType.CLOSE:
            transport.disconnect()
        elif not frame.fin or kind is picows.WSMsgType.CONTINUATION:
            self.parts += frame.get_payload_as_memoryview()
            if frame.fin:
                message, self.parts = self.parts, bytearray()
                self.take(self.decompress(message))
        else:
            self.take(self.decompress(frame.get_payload_as_bytes()))


class PeekingListener(Listener):
    """Parses a message only if its first bytes name a wanted event."""

    def __init__(self, job: Job, meter: Meter) -> None:
        super().__init__(job, meter)
        self.wanted = {name.encode() for name in job.names}
        self.newest = b""
        self.parse, self.take = self.take, self.peek

    def peek(self, text: bytes) -> None:
        self.newest = text
        if text.startswith(_START):
            if text[6 : text.index(b'"', 6)] in self.wanted:
                self.parse(text)
        else:
            self.parse(text)


async def run(job: Job, meter: Meter, peek: bool = False) -> dict[str, str]:
    """Receive in the listener until the last event."""
    await receive((PeekingListener if peek else Listener)(job, meter), job, meter)
    return {"version": picows.__version__}


async def receive(listener: picows.WSListener, job: Job, meter: Meter) -> None:
    """Connect a listener and wait for the last event."""
    transport, _ = await picows.ws_connect(
        lambda *_: listener,
        job.gateway_url(),
        ssl_context=job.ssl_context(),
        max_frame_size=64 * 1024 * 1024,
    )
    ended = asyncio.ensure_future(transport.wait_disconnected())
    done = asyncio.ensure_future(meter.done.wait())
    await asyncio.wait([ended, done], return_when=asyncio.FIRST_COMPLETED)
    if not meter.done.is_set():
        raise ConnectionError("the connection ended before the last event") from ended.exception()
