"""
Identify turns, and the budget of the day they are spent from.

Owns who may identify when: in one process, and over all processes of a machine. Called by `fleet`
and the shards' owners through `shard/ports`. Begin with `identify`; `sqlite_queue` is the same for
several processes, and what `redis/` has for several machines stands on `turn_lines`, too.
"""
