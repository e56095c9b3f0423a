"""How far the groups of consumers are behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .streams import EventStreams

__all__ = ["GroupLag", "read_lags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """
    What one group of consumers has not handled.

    Attributes:
        entries: events in all its mailboxes, and marks of new sessions.
        bytes: what they hold, as `max_bytes` counts.
        lost: events that full mailboxes dropped, and of which the group was not told yet.
        deepest: the shard with the most entries; None when there are none.
    """

    entries: int
    bytes: int
    lost: int
    deepest: int | None


async def read_lags(streams: EventStreams, shard_count: int) -> dict[str, GroupLag]:
    """
    Return how far each group is behind, over all shards of the bot.

    Raises:
        redis.RedisError: the server is away.
    Cost: two commands for each group and shard, in one go.
    """
    client, key = streams.client, streams.key
    groups = sorted(name.decode() for name in await client.hkeys(key("groups")))
    held = await client.hgetall(key("held"))
    pipeline = client.pipeline(transaction=False)
    for group in groups:
        for shard_id in range(shard_count):
            mailbox = streams.mailbox(group, shard_id)
            pipeline.xlen(mailbox)
            pipeline.hget(streams.shard(shard_id), f"lost:{mailbox}")
    found = await pipeline.execute()
    lags = {}
    for at, group in enumerate(groups):
        of_group = found[2 * shard_count * at : 2 * shard_count * (at + 1)]
        lengths = of_group[::2]
        lags[group] = GroupLag(
            entries=sum(lengths),
            bytes=int(held.get(group.encode(), 0)),
            lost=sum(int(lost or 0) for lost in of_group[1::2]),
            deepest=lengths.index(max(lengths)) if any(lengths) else None,
        )
    return lags
