"""
When all members of a guild may be asked for: once in 30 seconds, whoever asks.

Discord answers a request that comes earlier with RATE_LIMITED instead of members, and bots that go
on asking lose more than that. So the rule is kept here, where every request of a gateway passes:
requests for one guild stand in line, and the next one goes when the one before is 30 seconds old.
"""

from __future__ import annotations

import asyncio

__all__ = ["INTERVAL_S", "PADDING_S", "GuildLine", "MemberTurns"]

# Discord docs, "Rate Limited": one request for all members, a guild and bot, in 30 s.
INTERVAL_S = 30.0
# Two requests may arrive closer together than they left; the same estimate as of the send budget.
PADDING_S = 0.5
_SWEEP_AT = 64


class GuildLine:
    """
    Who asks for all members of one guild.

    Attributes:
        lock: held from one's turn until the request is written.
        free_at: when the next may be written, in monotonic seconds.
    """

    __slots__ = ("free_at", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.free_at = 0.0

    def wait_s(self, now: float) -> float:
        """Return how many seconds at least who comes now has to wait."""
        if self.lock.locked():  # by one that is not written yet
            return max(0.0, self.free_at - now) + INTERVAL_S
        return max(0.0, self.free_at - now)

    def written(self, now: float) -> None:
        """A request for all members is written."""
        self.free_at = now + INTERVAL_S + PADDING_S

    def limited(self, now: float, retry_after_s: float) -> None:
        """The service said when to ask again."""
        self.free_at = now + retry_after_s + PADDING_S

    def forget(self) -> None:
        """The last request did not reach the service."""
        self.free_at = 0.0


class MemberTurns:
    """The lines of all guilds of a gateway; those in which nobody has to wait are forgotten."""

    __slots__ = ("_lines", "_sweep_at")

    def __init__(self) -> None:
        self._lines: dict[int, GuildLine] = {}
        self._sweep_at = _SWEEP_AT

    def line(self, guild_id: int, now: float) -> GuildLine:
        """Return the line of a guild, to be used at once."""
        if (line := self._lines.get(guild_id)) is None:
            if len(self._lines) >= self._sweep_at:
                self._lines = {i: one for i, one in self._lines.items() if one.wait_s(now)}
                self._sweep_at = max(_SWEEP_AT, 2 * len(self._lines))
            line = self._lines[guild_id] = GuildLine()
        return line
