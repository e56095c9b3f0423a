"""
Frozen figures of how a shard and a gateway are: what `health()` returns.

Owns values only. Whoever counts (a shard, the loop watch) makes them; users and metrics read them.
"""
