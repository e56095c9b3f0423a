"""
A bot whose handler sleeps, under more traffic than it can take:
`python blast_child.py URL SHARDS [PEM]`, the certificate of whom it trusts.

It writes a line of JSON to stdout twice a second: how much memory it takes, what is not handled,
how its shards are. A line on stdin, `finish N`, says how many events were sent to each shard: then
it waits for them, writes a last line with what it saw, and ends.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
from array import array
from collections import defaultdict
from pathlib import Path

from fastgw import DeliveryLimits, Gateway, GatewayInfo, Intents, LocalIdentifyQueue

MARK = 4_000_000
SLEEP_S = 0.02

_, url, shards, *trusted = sys.argv
gateway = Gateway(
    "not.a.token",
    intents=Intents.all(),
    shards=int(shards),
    info=GatewayInfo(url, shards=int(shards)),
    compress="none",
    identify_queue=LocalIdentifyQueue(interval_s=0.02, padding_s=(0.0, 0.0)),
    ssl_context=ssl.create_default_context(cadata=trusted[0]) if trusted else None,
    limits=DeliveryLimits(running=50, shard_bytes=MARK, gateway_bytes=MARK),
)
# Four bytes an event: what is measured is fastgw's memory.
seen: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
peak_bytes = 0


@gateway.on("MESSAGE_CREATE")
async def slow(event):
    global peak_bytes
    peak_bytes = max(peak_bytes, gateway._handlers.ledgers.bytes)  # health() is for people
    await asyncio.sleep(SLEEP_S)
    seen[event.shard_id].append(event.data["n"])


def memory_bytes():
    """Return the memory that the process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def tell(**more):
    health = gateway.health()
    line = {
        "memory_bytes": memory_bytes(),
        "unhandled_bytes": peak_bytes,
        "handled": sum(map(len, seen.values())),
        "statuses": [shard.status.name for shard in health.shards],
        "reconnects": sum(gateway.stats().total.reconnects.values()),
        "is_held": any(shard.reading_paused_by for shard in health.shards),
        **more,
    }
    print(json.dumps(line), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = asyncio.ensure_future(reader.readline())
    async with gateway:
        while not order.done():
            tell()
            await asyncio.wait((order,), timeout=0.5)
        count = int(order.result().split()[1])
        while any(len(seen[shard_id]) < count for shard_id in range(int(shards))):
            tell()
            await asyncio.sleep(0.5)
        tell(is_whole=all(sorted(seen[i]) == list(range(count)) for i in range(int(shards))))


asyncio.run(main())
