"""
The floor of traffic: compiled listeners that decompress and count, over many connections.

`python -m bench.many.compiled JOB`; see `bench.floor`. They identify, and never beat.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import sys
import time
from typing import Any

from picows import ws_connect

from fastgw import Intents

from .bare import AT_ONCE, QUERY
from .child import loop_run
from .service import say

# Nobody is told how many messages came: they are asked for.
FOR_EVER = 1 << 62


def identify(shard_id: int, count: int) -> bytes:
    """Return the command."""
    properties = {"os": "linux", "browser": "bench", "device": "bench"}
    data = {"token": "not.a.token", "intents": int(Intents.all()), "properties": properties}
    return json.dumps({"op": 2, "d": {**data, "shard": [shard_id, count]}}).encode()


async def main(url: str, authorities: str, count: int, floors: str) -> None:
    """Open them all, and count what comes when asked."""
    sys.path.insert(0, floors)
    floor = importlib.import_module("bench_floor_libz").Floor
    context = ssl.create_default_context(cadata=authorities)
    gate = asyncio.Semaphore(AT_ONCE)

    async def open_one(shard_id: int) -> Any:
        async with gate:
            listener = floor(identify(shard_id, count), FOR_EVER, None.__ne__)
            return await ws_connect(lambda: listener, url + QUERY, ssl_context=context)

    kept = await asyncio.gather(*(open_one(shard_id) for shard_id in range(count)))
    say(opened=count)
    loop = asyncio.get_running_loop()
    asked_s = 0.0
    while await loop.run_in_executor(None, sys.stdin.readline):
        cpu_s = time.process_time() - asked_s
        messages = sum(listener.messages for _, listener in kept)
        asked_s = time.process_time() - cpu_s
        say(cpu_s=cpu_s, messages=messages)
    for transport, _ in kept:
        transport.disconnect(False)


if __name__ == "__main__":
    loop_run(main(**json.loads(sys.argv[1])))
