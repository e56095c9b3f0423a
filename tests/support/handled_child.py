"""
A bot with slow handlers and a durable store, until it is killed:
`python handled_child.py URL STORE ACKNOWLEDGE KIND`.

KIND is "coroutine", "fields" or "iterator". It writes to stdout, at once: `handled SEQUENCE N` when
a handler has ended, `status STATE`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from fastgw import Gateway, GatewayInfo, Intents, SQLiteIdentifyQueue, SQLiteSessionStore

_, url, path, acknowledge, kind = sys.argv

gateway = Gateway(
    "not.a.token",
    intents=Intents.all(),
    info=GatewayInfo(url),
    store=SQLiteSessionStore(path, acknowledge=acknowledge),  # type: ignore[arg-type]
    identify_queue=SQLiteIdentifyQueue(path, interval_s=0.02, padding_s=(0.0, 0.0)),
    backoff_s=(0.01, 0.1),
)


async def handle(event):
    await asyncio.sleep(random.random() * 0.8)
    os.write(1, f"handled {event.sequence} {event.data['n']}\n".encode())


async def handle_values(n):
    await asyncio.sleep(random.random() * 0.8)
    os.write(1, f"handled - {n}\n".encode())


async def iterate():
    async for event in gateway.events("MESSAGE_CREATE"):
        await asyncio.sleep(random.random() * 0.02)
        os.write(1, f"handled {event.sequence} {event.data['n']}\n".encode())


@gateway.on_status
def moved(change):
    os.write(1, f"status {change.new.name}\n".encode())


@gateway.on_status
def iterates(change):
    if kind == "iterator" and not tasks:
        tasks.append(asyncio.create_task(iterate()))


tasks: list[asyncio.Task[None]] = []
if kind == "coroutine":
    gateway.on("MESSAGE_CREATE")(handle)
elif kind == "fields":
    gateway.on("MESSAGE_CREATE", fields=("n",))(handle_values)
gateway.run()
