"""
What `health()` and `stats()` return: frozen figures of now, frozen counts since the start.

Owns values only. Whoever counts (a shard, the loop watch) makes them; users and metrics read them.
"""
