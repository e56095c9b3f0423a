"""
What processes on several machines share, in one server of the Redis protocol (7.0 or newer).

`RedisSessionStore` and `RedisIdentifyQueue` stand where the SQLite ones do, and need
`pip install 'fastgw[redis]'`; nothing below imports this folder. `server` is the way to Redis: one
thread, so that leases are renewed while a handler blocks the loop, and what is told at the very end
still goes out. Everything that several processes must agree on happens in a script (`*.lua`), by
the server's clock.
"""

from .identify import RedisIdentifyQueue
from .store import RedisSessionStore

__all__ = ["RedisIdentifyQueue", "RedisSessionStore"]
