"""What comes of a request of members; most bots make none, so it is imported with the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..._decode import Event

__all__ = ["MembersChunk"]


@dataclass(frozen=True, slots=True)
class MembersChunk:
    """
    One GUILD_MEMBERS_CHUNK; its data is parsed when it is first looked at.

    Attributes:
        guild_id: whose members.
        index, count: which chunk it is, from 0, and of how many. They may come in any order.
        event: the event itself.
    """

    guild_id: int
    index: int
    count: int
    event: Event

    @property
    def members(self) -> list[dict[str, Any]]:
        """Up to 1,000 guild member objects."""
        return self.event.data.get("members") or []

    @property
    def presences(self) -> list[dict[str, Any]]:
        """Their presences, if they were asked for."""
        return self.event.data.get("presences") or []

    @property
    def not_found(self) -> list[str]:
        """Those of `user_ids` that are no members, as str (Discord also sends numbers)."""
        return [str(user_id) for user_id in self.event.data.get("not_found") or ()]
