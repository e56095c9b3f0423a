"""
A gateway that shares identify turns and sessions, until it is killed:

    python cold_worker.py GATEWAY_URL REDIS_URL FIRST LAST COUNT KEYS INTERVAL_S

Says `up` when its shards FIRST to LAST of COUNT are all READY.
"""

from __future__ import annotations

import os
import sys

from fastgw import Gateway, GatewayInfo, Intents, SessionStartLimit
from fastgw.redis import RedisIdentifyQueue, RedisSessionStore

_, url, redis, first, last, count, keys, interval_s = sys.argv

limit = SessionStartLimit(total=5_000, remaining=5_000, max_concurrency=int(keys))
gateway = Gateway(
    "not.a.token",
    intents=Intents.GUILDS,
    info=GatewayInfo(url, int(count), limit),
    shards=range(int(first), int(last) + 1),
    shard_count=int(count),
    identify_queue=RedisIdentifyQueue(redis, interval_s=float(interval_s), padding_s=(0.0, 0.0)),
    store=RedisSessionStore(redis, lease_s=30.0),
)


@gateway.on_progress
def progressed(progress):
    if progress.ready == progress.shards:
        os.write(1, b"up\n")


gateway.run()
