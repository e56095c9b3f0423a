"""What the shards of one process counted, those too that have left it: none of it falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..health.counts import ShardStats
    from ..shard.face import Shard

__all__ = ["COUNTED", "Counting"]

# What is counted, by its name in the status, and what `ShardStats` calls it.
COUNTED = {"events": "dispatches", "identifies": "identifies", "resumes": "resumes_won"}


class Counting:
    """
    The counts of a process.

    `gateway.stats()` is about the shards that run there. One that is handed over, to a successor or
    to another machine, takes its counts along; here they stay.
    """

    def __init__(self) -> None:
        self._seen: set[Shard] = set()
        self._left = dict.fromkeys(COUNTED, 0)

    def note(self, shard: Shard) -> None:
        """Take notice of a shard, with each of its transitions."""
        self._seen.add(shard)

    def totals(self, total: ShardStats, here: Iterable[Shard]) -> dict[str, int]:
        """
        Return all that was counted.

        Args:
            total: of the shards that run here.
            here: those shards.
        """
        totals = _of(total)
        for shard in self._seen.difference(here):
            # One that has left may be on its way down yet; one that has stopped counts no more.
            has_stopped = shard.status is State.STOPPED
            into = self._left if has_stopped else totals
            for name, count in _of(shard.stats()).items():
                into[name] += count
            if has_stopped:
                self._seen.discard(shard)
        return {name: count + self._left[name] for name, count in totals.items()}


def _of(stats: ShardStats) -> dict[str, int]:
    return {name: getattr(stats, attribute) for name, attribute in COUNTED.items()}
