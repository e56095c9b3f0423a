"""
What processes on several machines share, in one server of the Redis protocol (7.0 or newer).

`RedisSessionStore` and `RedisIdentifyQueue` stand where the SQLite ones do, and need
`pip install 'fastgw[redis]'`; nothing below imports this folder. `server` is the way to Redis: one
thread, so that leases are renewed while a handler blocks the loop, and what is told at the very end
still goes out. Everything that several processes must agree on happens in a script (`scripts/`),
by the server's clock.

`Publisher` puts the events of a gateway into streams, one for each shard and group of consumers,
and `Consumer` hands them to handlers in other processes; `streams` is their way to Redis, in the
program's own loop.
"""

from ..health.consumers import ConsumerHealth, ConsumerStats
from ..health.streams import GroupLag, PublisherHealth, PublisherStats
from .consumer import Consumer
from .identify import RedisIdentifyQueue
from .publisher import Publisher
from .store import RedisSessionStore

__all__ = [
    "Consumer",
    "ConsumerHealth",
    "ConsumerStats",
    "GroupLag",
    "Publisher",
    "PublisherHealth",
    "PublisherStats",
    "RedisIdentifyQueue",
    "RedisSessionStore",
]
