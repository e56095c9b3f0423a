"""
What lives from `start()` to the end, above the single shard.

Owns the shards, and the watch over the event loop; `turns/` says who may identify when, `stores/`
keeps sessions, `commands/` reaches shards by guild, `http/` asks where to connect. It implements
the ports that `shard/ports` names, and names in `ports` what others may put in its place. Called by
`gateway` and `runner`. Begin with `fleet`.
"""
