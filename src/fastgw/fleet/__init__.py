"""
What lives from `start()` to the end, above the single shard.

Owns the answer of `GET /gateway/bot`, the identify turns and the watch over the event loop; it
implements the ports that `shard/ports` names. Called by `gateway` and `runner`. Begin with
`gateway_info`, the first thing that happens.
"""
