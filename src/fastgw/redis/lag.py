"""How far the groups of consumers are behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..health.streams import GroupLag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .streams import EventStreams

__all__ = ["Depth", "LagWatch", "lag_of", "read_depths", "read_lags"]

LOOK_S = 5.0  # between two looks of a publisher
SHARDS_A_CALL = 100  # nothing else runs in the server meanwhile


class Depth(NamedTuple):
    """
    What one mailbox holds, as `GroupLag` has it.

    Attributes:
        held: its bytes.
        first: the id of its first entry, or empty.
        age_ms: of that entry; -1 when nobody knows.
    """

    entries: int
    held: int
    lost: int
    first: bytes
    age_ms: int


async def read_depths(streams: EventStreams, group: str, shard_ids: Iterable[int]) -> list[Depth]:
    """
    Return what a group's mailboxes of these shards hold.

    Raises:
        redis.RedisError: the server is away.
    Cost: four commands for each shard, in scripts of 100 shards.
    """
    keys = [key for i in shard_ids for key in (streams.shard(i), streams.mailbox(group, i))]
    step = 2 * SHARDS_A_CALL
    calls: list[tuple[list[str], list[object]]] = [
        (keys[at : at + step], []) for at in range(0, len(keys), step)
    ]
    answers = await streams.run_all("lag", calls, is_raised=True) if calls else []
    return [Depth(*flat[at : at + 5]) for flat in answers for at in range(0, len(flat), 5)]


def lag_of(depths: Collection[Depth], shard_ids: Iterable[int]) -> GroupLag:
    """Put mailboxes of one group together."""
    ages = [depth.age_ms for depth in depths if depth.age_ms >= 0]
    deepest = max(zip(depths, shard_ids, strict=True), key=lambda one: one[0].entries, default=None)
    return GroupLag(
        entries=sum(depth.entries for depth in depths),
        bytes=sum(depth.held for depth in depths),
        lost=sum(depth.lost for depth in depths),
        oldest_age_s=max(ages) / 1000 if ages else None,
        deepest=deepest[1] if deepest is not None and deepest[0].entries else None,
    )


async def read_lags(streams: EventStreams, shard_ids: Collection[int]) -> dict[str, GroupLag]:
    """
    Return how far each group is behind on these shards.

    Raises:
        redis.RedisError: the server is away.
    """
    groups = sorted(name.decode() for name in await streams.client.hkeys(streams.key("groups")))
    return {
        group: lag_of(await read_depths(streams, group, shard_ids), shard_ids) for group in groups
    }


class LagWatch:
    """
    What a publisher knows of its groups: a look every few seconds, in its own loop, so that whoever
    asks, from whatever thread, waits for no server.

    Attributes:
        groups: how far each is behind, as it was seen last.
        seen_at: when that was, monotonic; None before.
    """

    def __init__(self) -> None:
        self.groups: dict[str, GroupLag] = {}
        self.seen_at: float | None = None

    async def look(self, streams: EventStreams, shard_ids: Collection[int]) -> None:
        """Look, if it is time."""
        now = time.monotonic()
        if self.seen_at is None or now - self.seen_at >= LOOK_S:
            self.groups = await read_lags(streams, shard_ids)
            self.seen_at = now
