"""
A process whose shards identify again and again until it is killed:

    python queue_child.py QUEUE LOG KEYS INTERVAL_S SEED SHARD...

It writes to LOG, a line each and at once: `acquired KEY AT`, `written KEY AT` just before the turn
is told, `released KEY AT`; AT is seconds since boot. Some turns die before the write.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from fastgw.fleet.stores.boot_clock import system_boot_clock
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue


async def main(path: str, log: str, keys: int, interval_s: float, seed: int, *ids: int) -> None:
    chance = random.Random(seed)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    clock = system_boot_clock()
    queue = SQLiteIdentifyQueue(
        path,
        max_concurrency=keys,
        interval_s=interval_s,
        padding_s=(0.0, interval_s / 4),
        reserve=0,
    )

    def note(what: str, key: int) -> None:
        os.write(file, f"{os.getpid()} {what} {key} {clock.boot()!r}\n".encode())

    async def shard(shard_id: int) -> None:
        key = shard_id % keys
        while True:
            turn = await queue.acquire(shard_id)
            note("acquired", key)
            await asyncio.sleep(chance.random() * interval_s / 2)  # the socket opens
            if chance.random() < 0.7:
                note("written", key)
                turn.written()
                await asyncio.sleep(chance.random() * interval_s)  # READY comes
            note("released", key)
            turn.release()

    await asyncio.gather(*map(shard, ids))


if __name__ == "__main__":
    _, path, log, *numbers = sys.argv
    keys, interval_s, seed, *ids = numbers
    asyncio.run(main(path, log, int(keys), float(interval_s), int(seed), *map(int, ids)))
