"""
What the hand-written clients share: what somebody writes who has no library, and writes it well.

A message is decompressed with the packages fastgw uses itself, parsed whole with orjson, and its
data handed to a function found by name. One connection, HELLO, IDENTIFY, heartbeats; no resume, no
limits, no checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from zlib_ng import zlib_ng

from ..rig.client import Job
from ..rig.meter import Meter

try:
    from compression import zstd
except ImportError:
    from backports import zstd

Handler = Callable[[dict[str, Any]], None]
IDENTIFY = orjson.dumps(
    {
        "op": 2,
        "d": {
            "token": "bench",
            "intents": 0x3FFFFFF,
            "properties": {"os": "linux", "browser": "bench", "device": "bench"},
        },
    }
)


def decompressor(compression: str) -> Callable[[Any], bytes]:
    """Return a function from a message as received to its JSON text; one context."""
    if compression == "none":
        return lambda message: message
    if compression == "zlib":
        return zlib_ng.decompressobj().decompress
    return zstd.ZstdDecompressor().decompress


def handlers(job: Job, meter: Meter) -> dict[str, Handler]:
    """Return the job's handlers by event name; they look into the data for the guild id."""
    left, checksum = meter.prelude, 0

    def on_event(data: dict[str, Any]) -> None:
        nonlocal left, checksum
        guild_id = data.get("guild_id")
        if guild_id is not None:
            checksum += int(guild_id)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    def on_guild(data: dict[str, Any]) -> None:
        nonlocal left, checksum
        checksum += int(data["id"])
        left -= 1

    guilds = ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE")
    return {name: on_guild if name in guilds else on_event for name in job.names}


class Client:
    """
    The gateway half of a hand-written client; a subclass brings the socket.

    Args:
        send: takes one command as JSON text.
    """

    def __init__(self, job: Job, meter: Meter) -> None:
        self.handlers = handlers(job, meter)
        self.sequence: int | None = None
        self.send: Callable[[bytes], Any] | None = None
        self.heart: asyncio.TimerHandle | None = None

    def take(self, text: bytes | str) -> None:
        """Take one whole message as JSON text."""
        message = orjson.loads(text)
        if message["op"] == 0:
            self.sequence = message["s"]
            handler = self.handlers.get(message["t"])
            if handler is not None:
                handler(message["d"])
        else:
            self.take_other(message)

    def take_other(self, message: dict[str, Any]) -> None:
        """HELLO, and a server's wish for a heartbeat."""
        if message["op"] == 10:
            self.beat_every(message["d"]["heartbeat_interval"] / 1000)
            self.send(IDENTIFY)
        elif message["op"] == 1:
            self.send(orjson.dumps({"op": 1, "d": self.sequence}))

    def beat_every(self, interval_s: float) -> None:
        """Arm the heartbeat."""

        def beat() -> None:
            self.send(orjson.dumps({"op": 1, "d": self.sequence}))
            self.beat_every(interval_s)

        self.heart = asyncio.get_running_loop().call_later(interval_s, beat)
