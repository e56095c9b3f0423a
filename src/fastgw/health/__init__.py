"""Frozen figures of how a shard and a gateway are."""
