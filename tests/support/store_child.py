"""
A process that stores sessions until it is killed: `python store_child.py FILE SHARDS`.

Each line on stdout is a promise: `noted N` before sequence N is handed to the store, `stored N`
when it must survive whatever happens. Each round begins a new session, too.
"""

from __future__ import annotations

import asyncio
import sys

from fastgw.fleet.ports import Occupied, OpenStore, StoredSession
from fastgw.fleet.stores.sqlite_store import SQLiteSessionStore
from fastgw.protocol.session import Session

STEPS = 5  # sequences a session


def say(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


async def main(path: str, shards: int) -> None:
    store = await SQLiteSessionStore(path).open(None)
    ids = range(shards)
    found = await store.take(ids, shards)
    number = max((stored.session.sequence for stored in found.values()), default=0)
    while True:
        for step in range(STEPS):
            number += 1
            say("noted", number)
            if step == 0:
                for shard_id in ids:
                    session = Session(f"s-{number}", number, f"wss://{number}", shard_id, shards)
                    store.save(StoredSession(session=session, terms="{}", bot_id=1))
            else:
                store.save_sequences(dict.fromkeys(ids, number))
            await asyncio.sleep(0.001)
        await store.release(ids)
        say("stored", number)
        await take_again(store, ids)


async def take_again(store: OpenStore, ids: range) -> None:
    """Whoever asks while nobody has the shards gets them for a moment."""
    while True:
        try:
            await store.take(ids, len(ids))
        except Occupied:  # noqa: PERF203 - it is what is waited for
            await asyncio.sleep(0.001)
        else:
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
