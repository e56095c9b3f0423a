"""
A bot for several processes: `fleet_bot:gateway`, as the environment says.

It appends to the file FLEET_BOT_LOG, one line a write: `event PID SHARD SESSION SEQUENCE CONTENT`
in a synchronous handler, `status PID SHARD STATE SECONDS`, `begin PID` and `end PID` in one that
takes a while.
FLEET_BOT_INTERVAL_S is that of its identify queue; FLEET_BOT_FAILS makes the import fail, and
FLEET_BOT_WAITS makes it wait for a file, after `waits PID`.
"""

from __future__ import annotations

import asyncio
import os
import time

import fastgw

FAILS = os.environ.get("FLEET_BOT_FAILS", "")
LOG = os.open(os.environ["FLEET_BOT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

if FAILS == "import" or (FAILS and os.path.exists(FAILS)):
    raise RuntimeError("this module is broken")


def write(*words):
    os.write(LOG, (" ".join(map(str, words)) + "\n").encode())


if waits := os.environ.get("FLEET_BOT_WAITS"):
    write("waits", os.getpid())
    while not os.path.exists(waits):
        time.sleep(0.01)

options = {}
if interval := os.environ.get("FLEET_BOT_INTERVAL_S"):
    options["identify_queue"] = fastgw.SQLiteIdentifyQueue(
        os.environ["FLEET_BOT_QUEUE"], interval_s=float(interval), padding_s=(0.0, 0.0)
    )

gateway = fastgw.Gateway(intents=fastgw.Intents.all(), backoff_s=(0.01, 0.5), **options)


@gateway.on("MESSAGE_CREATE")
def seen(event):
    shard = gateway.shards[0] if len(gateway.shards) == 1 else None
    shard = shard or next((s for s in gateway.shards if s.id == event.shard_id), None)
    session = shard.session_id if shard else None
    write("event", os.getpid(), event.shard_id, session, event.sequence, event.data["content"])


@gateway.on("TYPING_START")
async def slow(event):
    write("begin", os.getpid())
    await asyncio.sleep(0.5)
    write("end", os.getpid())


@gateway.on_status
def moved(change):
    write("status", os.getpid(), change.shard.id, change.new.name, time.monotonic())


def make():
    return gateway


def make_none():
    return None


async def make_later():
    return gateway


def raises():
    raise LookupError("no such bot")


number = 7
write("import", os.getpid())
