"""
Event to user code: who wants which event, how it reaches them, and what becomes of their errors.

`handlers` is the place to begin: names to targets. The call of a target itself stands in
`connection/listener.pyx`, so that nothing of ours stands between the socket and a sync handler.
The gateway registers and drains here; a shard's listener reports errors here, and nothing else.
"""
