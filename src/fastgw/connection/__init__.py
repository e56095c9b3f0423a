"""
One websocket over picows: `dial` opens it, `websocket` is the open connection.

The compiled `listener` takes its frames, and calls the handler of an event directly: that is the
one place below `delivery` from which user code runs. `gate` lets only the picows in that the
listener was built against. Nothing here knows the gateway protocol; `shard/` gives it a decoder and
hears of it.
"""
