"""
A bot in several processes of one machine: a supervisor, and workers that each run some shards.

Owns how a process is started, told, watched, replaced and ended; stores and queues that they share
are `fleet`'s. Called by `cli` and by programs (`run_processes`). Begin with `supervisor`; what runs
in a worker begins in `worker`.
"""
