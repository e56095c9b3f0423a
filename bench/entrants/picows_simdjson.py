"""
A hand-written client on picows and simdjson: the whole text is indexed, and only what a handler
touches is turned into Python objects.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import simdjson

from ..rig.client import Job
from ..rig.meter import Meter
from . import picows_orjson


class Listener(picows_orjson.Listener):
    """The same listener with another parser."""

    def __init__(self, job: Job, meter: Meter) -> None:
        super().__init__(job, meter)
        self.parser = simdjson.Parser()
        self.take = self.parse

    def parse(self, text: bytes) -> None:
        message: Any = self.parser.parse(text)
        if message["op"] == 0:
            self.client.sequence = message["s"]
            handler = self.client.handlers.get(message["t"])
            if handler is not None:
                handler(message["d"])
        else:
            self.client.take_other(message.as_dict())
        # The parser refuses its next text while an object of this one lives.
        del message


async def run(job: Job, meter: Meter) -> dict[str, str]:
    """Receive in the listener until the last event."""
    await picows_orjson.receive(Listener(job, meter), job, meter)
    return {"version": version("pysimdjson")}
