"""
A consumer that writes down what it handles, until it is killed:

    python stream_consumer.py REDIS_URL GROUP COUNT LEASE_S LOG

One line an event, appended to LOG, which all consumers of the group share: `SHARD NUMBER`, or
`SHARD NAME` of a SESSION_RESET or LOST.
"""

from __future__ import annotations

import asyncio
import os
import sys

import skew  # noqa: F401 - before anything can take the time

from fastgw import UsageError
from fastgw.redis import Consumer

_, redis, group, count, lease_s, log = sys.argv
file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(number):
    os.write(file, b"%d %d\n" % divmod(number, 1 << 32))


def hole(event):
    os.write(file, f"{event.shard_id} {event.name}\n".encode())


async def main():
    while True:
        consumer = Consumer(redis, group=group, shards=int(count), lease_s=float(lease_s))
        consumer.on("MESSAGE_CREATE", fields=("n",))(handle)
        consumer.on("SESSION_RESET", "LOST")(hole)
        try:
            await consumer.start()
        except UsageError:  # Redis is away at this moment
            await asyncio.sleep(0.2)
        else:
            await asyncio.Event().wait()


asyncio.run(main())
