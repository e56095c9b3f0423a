"""
Sessions that outlive a process, and the file in which a machine's processes keep them.

Owns what a session store holds and when it is written. Called by `fleet`; `redis/` keeps its rows
by the same `write_behind`. Begin with `sessions`, then `sqlite_store`; below them the one SQLite
file, its thread, its locks and the clock that processes share.
"""
