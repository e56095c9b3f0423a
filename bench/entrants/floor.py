"""The compiled floors: a picows listener that decompresses messages and drops the result."""

from __future__ import annotations

import importlib

from ..rig.client import Job
from ..rig.meter import Meter
from . import picows_orjson
from .handwritten import IDENTIFY


async def run(job: Job, meter: Meter, kind: str) -> dict[str, int]:
    """Receive until the last message; report how many bytes came out."""
    module = importlib.import_module(f"bench_floor_{kind}")
    parts: list[tuple[int, int]] = []

    def reached(messages: int, plain_bytes: int) -> int:
        """Called when the counted messages are there; returns how many the next part has."""
        parts.append((messages, plain_bytes))
        meter.turn(0)
        return job.measured_messages

    listener = module.Floor(IDENTIFY, job.prelude_messages, reached)
    await picows_orjson.receive(listener, job, meter)
    messages, plain_bytes = (b - a for a, b in zip(*parts, strict=True))
    return {"messages": messages, "plain_bytes": plain_bytes}
