"""
An attached bot of the discord.py family in a process of its own, which runs until it is killed:

    python attached_child.py API_URL QUEUE INTERVAL_S HOLD SHARD_COUNT SHARD...

Its turns to identify come from the SQLite file QUEUE. The shard HOLD (-1: none) keeps its turn for
ever, before it identifies, and says `holds SHARD`.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

from discord_py_bots import LIBRARY, PACKAGE

import fastgw

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI=.attached.child"  # the first part says whose it is, in base64


async def main(
    api_url: str, queue: str, interval_s: float, hold: int, count: int, *ids: int
) -> None:
    route = importlib.import_module(f"{PACKAGE}.http").Route
    setattr(route, "BASE" if hasattr(route, "BASE") else "API_BASE_URL", api_url)
    commands: Any = importlib.import_module(f"{PACKAGE}.ext.commands")

    class Bot(commands.AutoShardedBot):  # type: ignore[misc]
        async def before_identify_hook(self, shard_id: int, *, initial: bool = False) -> None:
            if shard_id == hold:
                print("holds", shard_id, flush=True)
                await asyncio.Event().wait()

    bot = Bot(
        "!", help_command=None, intents=LIBRARY.Intents.all(), shard_count=count,
        shard_ids=list(ids),
    )  # fmt: skip
    turns = fastgw.SQLiteIdentifyQueue(queue, interval_s=interval_s, padding_s=(0.01, 0.02))
    fastgw.attach(bot, identify_queue=turns)
    await bot.start(TOKEN)


if __name__ == "__main__":
    _, api_url, queue, interval_s, *numbers = sys.argv
    asyncio.run(main(api_url, queue, float(interval_s), *map(int, numbers)))
