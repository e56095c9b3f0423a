"""
What lives from `start()` to the end, above the single shard.

Owns the answer of `GET /gateway/bot`, the identify turns and their budget, the stored sessions and
the watch over the event loop; it implements the ports that `shard/ports` names, and names in
`ports` what others may put in its place. Called by `gateway` and `runner`. Begin with `fleet`.
"""
