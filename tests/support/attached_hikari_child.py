"""
An attached hikari bot in a process of its own, which runs until it is killed:

    python attached_hikari_child.py API_URL QUEUE INTERVAL_S -1 SHARD_COUNT SHARD...

Its turns to identify come from the SQLite file QUEUE.
"""

from __future__ import annotations

import asyncio
import sys

import hikari

import fastgw

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI=.attached.child"  # the first part says whose it is, in base64


async def main(api_url: str, queue: str, interval_s: float, count: int, *ids: int) -> None:
    bot = hikari.GatewayBot(
        TOKEN, banner=None, logs="ERROR", suppress_optimization_warning=True, rest_url=api_url
    )
    turns = fastgw.SQLiteIdentifyQueue(queue, interval_s=interval_s, padding_s=(0.01, 0.02))
    fastgw.attach(bot, identify_queue=turns)
    await bot.start(shard_ids=ids, shard_count=count, check_for_updates=False)
    await bot.join()


if __name__ == "__main__":
    _, api_url, queue, interval_s, _, *numbers = sys.argv
    asyncio.run(main(api_url, queue, float(interval_s), *map(int, numbers)))
