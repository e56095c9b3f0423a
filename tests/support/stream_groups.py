"""What Redis holds for the group of a consumer."""

from __future__ import annotations

import asyncio
import time

from deadline import scaled

from fastgw import Consumer


async def until_nothing_is_held(consumer: Consumer) -> None:
    """Wait until all entries of its group are removed; fail after 30 (scaled) seconds."""
    streams, end = consumer._streams, time.monotonic() + scaled(30.0)
    while await streams.client.hget(streams.key("held"), consumer._group) != b"0":
        assert time.monotonic() < end, "the group still holds something"
        await asyncio.sleep(0.01)
