"""
hikari: shards that look like its own, each of them kept connected by one of our gateway's.

`seam` swaps two classes of the bot for subclasses; they hand each `shard` that is started to one
`link`, which owns the `Gateway`. Which events the bot wants `interests` asks of hikari itself.
"""
