"""
What a program tells Discord through its gateway, where it is not a single shard that is meant.

`Gateway` offers these methods by standing on this class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from ..shard.face import shard_id_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..shard.face import Shard
    from .fleet import Fleet

__all__ = ["CommandSender"]


class CommandSender:
    """Commands of a whole gateway, and the way to the shard of a guild."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def shard_for(self, guild_id: int | str) -> Shard | None:
        """
        Return the shard that a guild's events come on; None when it does not run here.

        Raises:
            UsageError: not an id, or the gateway was not started yet.
        """
        if not self._fleet.shard_count:
            raise UsageError("the number of shards is not known before start()")
        return self._fleet.shard(shard_id_for(guild_id, self._fleet.shard_count))

    def set_presence(
        self, presence: Mapping[str, Any], *, shard_ids: Iterable[int] | None = None
    ) -> None:
        """
        Show a presence from now on, on these shards or on all; return at once.

        Shards whose session is up send it within Discord's limit of 5 in 20 s, the latest only;
        every later IDENTIFY says it, also after sessions were lost and of shards started later.

        Args:
            presence: the `d` of op 3, such as `{"status": "idle", "afk": False, "since": None,
                "activities": [{"name": "chess", "type": 0}]}`; a copy of it is kept.
            shard_ids: shards that run here; None means all, and is what may be said before
                `start()`.
        Raises:
            UsageError: no mapping, no JSON, too long, or a shard that does not run here.
        """
        self._fleet.set_presence(presence, None if shard_ids is None else tuple(shard_ids))
