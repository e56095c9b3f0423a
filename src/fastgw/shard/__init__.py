"""
One shard kept connected, until it is closed or refused for good.

Owns the policy that the protocol leaves open: when to dial again, what is sent when, what waits.
Called by `gateway` and `fleet/`; users meet it as `Shard`. Begin with `driver`.
"""
