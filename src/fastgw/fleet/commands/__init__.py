"""
What a program tells Discord through its gateway: to shards by guild, whoever runs them.

Owns the requests for members that wait for an answer, and the rule of one in 30 seconds. Called by
`gateway` and, with other shards below, by `redis/`. Begin with `face`.
"""
