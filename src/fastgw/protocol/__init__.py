"""
The gateway protocol of one shard without IO: no clock, socket, task or chance of its own.

Owns the states of a connection, the session, heartbeats, what close codes mean, and the bytes of
commands. `shard.driver` runs it and nobody else does; others read its values (states, causes,
opcodes, limits). Begin in `machine`: its docstring holds the theory and the order of calls.
"""
