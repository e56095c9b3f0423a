"""
A gateway that publishes, until it is killed:

    python stream_worker.py GATEWAY_URL REDIS_URL FIRST LAST COUNT LEASE_S

Runs the shards FIRST to LAST of COUNT; says `up` when it was given them and all are READY, and
`down` when one is not any more.
"""

from __future__ import annotations

import os
import sys

import skew  # noqa: F401 - before anything can take the time

from fastgw import Gateway, GatewayInfo, Intents, State
from fastgw.redis import Publisher, RedisIdentifyQueue, RedisSessionStore

_, url, redis, first, last, count, lease_s = sys.argv

gateway = Gateway(
    "not.a.token",
    intents=Intents.all(),
    info=GatewayInfo(url, int(count)),
    shards=range(int(first), int(last) + 1),
    shard_count=int(count),
    identify_queue=RedisIdentifyQueue(
        redis, max_concurrency=int(count), interval_s=0.02, padding_s=(0.0, 0.0)
    ),
    store=RedisSessionStore(redis, acknowledge="handled", lease_s=float(lease_s)),
    publish=Publisher(redis),
    backoff_s=(0.05, 0.5),
)


@gateway.on_progress
def progressed(progress):
    if progress.ready == progress.shards:
        os.write(1, b"up\n")


@gateway.on_status
def status_changed(change):
    if change.new is not State.READY:
        os.write(1, b"down\n")


gateway.run()
