"""
The rule by which members share the shards of a bot out. Pure: no clock, no Redis.

Theory. Every member looks at the same table (who lives, who has a lease on what) and works out the
same answer: how many shards each should have, and who takes which of the free ones. They need not
talk to each other; where two have looked at different moments, the lease decides, and the next look
puts the rest right.

- The shares differ by at most one; whoever has most now gets the larger ones, so nothing moves
  without need.
- A member above its share gives shards up, a few at each look; one below takes free ones.
- Shards on which somebody else has a lease, such as a process with shards of its own, or one that
  is about to end, are no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["MAX_GIVEN", "Moves", "Table", "moves_of", "shares_of"]

# A shard that changes hands is away for about a second: of a bot that grows by a machine, a few at
# a time. Who ends gives all of them at once.
MAX_GIVEN = 4


@dataclass(frozen=True, slots=True)
class Table:
    """
    What a member sees at one moment.

    Attributes:
        members: who lives.
        owners: shard -> who has a lease on it that is not over.
        shard_count: of the bot.
        is_quiet: the server has lost what it knew: leases may be missing that count elsewhere.
    """

    members: Collection[str]
    owners: Mapping[int, str]
    shard_count: int
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Moves:
    """
    What one member does next.

    Attributes:
        share: how many shards it should have.
        give, take: shards, in order.
    """

    share: int
    give: tuple[int, ...]
    take: tuple[int, ...]


def shares_of(table: Table) -> dict[str, int]:
    """Return how many shards each member should have."""
    held = _held(table)
    count = table.shard_count - sum(owner not in held for owner in table.owners.values())
    order = sorted(held, key=lambda member: (-len(held[member]), member))
    least, more = divmod(count, len(order)) if order else (0, 0)
    return {member: least + (place < more) for place, member in enumerate(order)}


def moves_of(table: Table, me: str, *, running: Collection[int], movable: Collection[int]) -> Moves:
    """
    Return what `me` does.

    Args:
        running: shards that run here, or are on their way in or out.
        movable: those of them that may be given up now.
    """
    held, shares = _held(table), shares_of(table)
    share = shares[me]
    # A lease without its shard: it was put out, or its start was cut short. It is mine still.
    idle = sorted(held[me].difference(running))
    surplus = min(len(held[me]) - share, MAX_GIVEN)
    give = sorted(held[me].intersection(movable), reverse=True)[: max(0, surplus)]
    free = sorted(set(range(table.shard_count)).difference(table.owners))
    take: list[int] = []
    for member in sorted(shares):
        wanted = max(0, shares[member] - len(held[member]))
        part, free = free[:wanted], free[wanted:]
        if member == me and not table.is_quiet:
            take = [shard_id for shard_id in part if shard_id not in running]
    return Moves(share=share, give=tuple(give), take=(*idle, *take))


def _held(table: Table) -> dict[str, set[int]]:
    held: dict[str, set[int]] = {member: set() for member in table.members}
    for shard_id, owner in table.owners.items():
        if owner in held and shard_id < table.shard_count:
            held[owner].add(shard_id)
    return held
