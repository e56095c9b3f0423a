"""
What nobody can do without: picows connections over TLS, each with its decompression context.

`python -m bench.many.bare JOB`; the listener counts messages, and does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

from picows import WSFrame, WSListener, WSTransport, ws_connect
from zlib_ng import zlib_ng

from .child import loop_run
from .resident import resident_bytes
from .service import say

QUERY = "/?v=10&encoding=json&compress=zlib-stream"
AT_ONCE = 64


class Bare(WSListener):
    """One connection."""

    def __init__(self) -> None:
        self.messages = 0
        self.spoken_to = asyncio.Event()
        self._decompress = zlib_ng.decompressobj().decompress

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Decompress, and drop it."""
        self._decompress(frame.get_payload_as_bytes())
        self.messages += 1
        self.spoken_to.set()


async def main(url: str, authorities: str, count: int) -> None:
    """Open them all, wait for HELLO on each, and tell what is resident."""
    context = ssl.create_default_context(cadata=authorities)
    gate = asyncio.Semaphore(AT_ONCE)
    kept: list[Any] = []

    async def open_one() -> None:
        async with gate:
            kept.append(await ws_connect(Bare, url + QUERY, ssl_context=context))

    await open_one()  # whatever the first one loads is no cost of the others
    before = resident_bytes()
    await asyncio.gather(*(open_one() for _ in range(count)))
    for _, listener in kept:
        await listener.spoken_to.wait()
    say(bytes_each=(resident_bytes() - before) / count)
    for transport, _ in kept:
        transport.disconnect(False)


if __name__ == "__main__":
    loop_run(main(**json.loads(sys.argv[1])))
