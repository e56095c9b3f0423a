"""The pace of a service that sends at a rate."""

from __future__ import annotations

__all__ = ["Pace"]

# What a turn may hold, in seconds of the rate.
_MOST_S = 0.05


class Pace:
    """
    How many events are due, as often as somebody asks.

    A busy machine lets whoever sends fall behind. If he then sent all that is due at once, he would
    be deaf for as long, fall behind further, and answer no RESUME in time: what one turn cannot
    hold is never sent.

    Args:
        rate: events a second.
        now: seconds of a clock that only goes on.
    """

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._most = max(1, int(rate * _MOST_S))
        self._since = now
        self._given = 0

    def due(self, now: float) -> int:
        """Return how many events to send now."""
        due = max(0, int((now - self._since) * self._rate) - self._given)
        if due > self._most:
            self._since, self._given, due = now, 0, self._most
        else:
            self._given += due
        return due
