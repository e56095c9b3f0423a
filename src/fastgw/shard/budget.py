"""
How many commands a connection may still send.

Nothing here reads a clock: time is passed in as `now` (monotonic seconds), so that the limit can be
proved with invented time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque

from ..errors import UsageError
from ..protocol.wire import PRESENCE_LIMIT, PRESENCE_WINDOW_S, SEND_LIMIT, SEND_WINDOW_S

__all__ = ["PresenceBudget", "SendBudget"]

# Two commands may arrive closer together than they left: the window is ours plus this much. It is
# an estimate, more than any jitter between two commands that a live connection has shown.
SEND_WINDOW_PADDING_S = 0.5
# Beats in one window that answer a service's op 1. The service asks now and then; one that floods
# gets these, and its next answer is the next periodic beat.
MAX_ANSWERS = 5


class SendBudget:
    """
    How many commands one connection may still send: a sliding log of the last minute.

    Every command counts, heartbeats too. No 60-second window ever holds more than `limit` commands.
    Who gives way to whom:

    - periodic heartbeats, IDENTIFY and RESUME are urgent and may use the whole limit;
    - answers to a service that asks for a heartbeat leave room for every periodic one, and are
      never more than `MAX_ANSWERS`;
    - users' commands leave room for `reserved` more: the periodic ones and one answer.
    """

    __slots__ = ("_answers", "_first", "_ordinary", "_sent", "limit", "reserved", "window_s")

    def __init__(
        self, *, limit: int = SEND_LIMIT, window_s: float = SEND_WINDOW_S + SEND_WINDOW_PADDING_S
    ) -> None:
        if limit < 1 or window_s <= 0:
            raise UsageError("a send budget needs a limit of at least 1 and a window above 0 s")
        self.limit = limit
        self.window_s = window_s
        self.reserved = 0
        self._sent: deque[float] = deque()  # when each command was sent, oldest first
        self._ordinary: deque[float] = deque()  # the users' and the answers among them
        # Lists, as they hold a few, and an empty deque has room for 64: 0.7 KB a shard.
        self._answers: list[float] = []  # the answers among them
        self._first: list[float] = []  # IDENTIFY or RESUME

    def reset(self, *, heartbeat_interval_s: float | None = None) -> None:
        """
        Begin a new connection: nothing was sent on it yet.

        Args:
            heartbeat_interval_s: from HELLO; None before it. Slots for the heartbeats of one
                window, and one the service may ask for, are then kept free of other commands.
        """
        for log in (self._sent, self._ordinary, self._answers, self._first):
            log.clear()
        self.reserved = 0
        if heartbeat_interval_s is not None:
            self.reserve_heartbeats(heartbeat_interval_s)

    def reserve_heartbeats(self, interval_s: float) -> None:
        """Keep slots for a heartbeat every `interval_s` seconds, and one extra, from now on."""
        if interval_s <= 0:
            raise UsageError(f"a heartbeat interval of {interval_s} s is not above 0")
        # At least one slot stays for ordinary commands however short the interval.
        self.reserved = min(math.ceil(self.window_s / interval_s) + 1, self.limit - 1)

    def take(self, now: float) -> bool:
        """Count one ordinary command if it may be sent at `now`; say whether it may."""
        if self.free_at(now) > now:
            return False
        self._sent.append(now)
        self._ordinary.append(now)
        return True

    def take_urgent(self, now: float, *, is_beat: bool = True) -> bool:
        """Count one heartbeat, identify or resume if it may be sent at `now`; say whether."""
        if self.urgent_free_at(now) > now:
            return False
        self._sent.append(now)
        if not is_beat:
            self._first.append(now)
        return True

    def take_answer(self, now: float) -> bool:
        """Count one heartbeat that the service asked for if it may be sent now; say whether."""
        if self.urgent_free_at(now) > now or len(self._answers) >= MAX_ANSWERS:
            return False
        # What is not periodic leaves room for what is.
        if len(self._ordinary) + len(self._first) > self.limit - max(self.reserved, 1):
            return False
        for log in (self._sent, self._ordinary, self._answers):
            log.append(now)
        return True

    def free_at(self, now: float) -> float:
        """Return when the next ordinary command may go: `now`, or a later moment."""
        at = self.urgent_free_at(now)
        room = self.limit - self.reserved
        if len(self._ordinary) >= room:
            at = max(at, self._ordinary[len(self._ordinary) - room] + self.window_s)
        return at

    def room(self, now: float) -> int:
        """Return how many ordinary commands may go at `now`."""
        # Changes nothing: health is asked for from other threads, and a log read once is whole.
        ordinary = self.limit - self.reserved - self._count(tuple(self._ordinary), now)
        return max(0, min(self.limit - self._count(tuple(self._sent), now), ordinary))

    def _count(self, log: tuple[float, ...], now: float) -> int:
        """Count what of a log falls into the window that ends at `now`."""
        return len(log) - bisect_right(log, now, key=lambda at: at + self.window_s)

    def urgent_free_at(self, now: float) -> float:
        """Return when the next urgent command may go: `now`, or a later moment."""
        self._forget(now)
        if len(self._sent) < self.limit:
            return now
        return self._sent[len(self._sent) - self.limit] + self.window_s

    def _forget(self, now: float) -> None:
        # The same sum as in free_at, not its rearrangement: rounding must not disagree with it.
        for log in (self._sent, self._ordinary, self._answers, self._first):
            while log and log[0] + self.window_s <= now:
                del log[0]


class PresenceBudget:
    """
    How many presences may still be sent: the service drops the excess without a word.

    Unlike the `SendBudget` it outlives a connection, for nobody says that the service's count ends
    with one, and a presence that was dropped would be wrong until the next.
    """

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: list[float] = []  # when, oldest first; PRESENCE_LIMIT of them at most

    def take(self, now: float) -> None:
        """Count one presence that is written at `now`."""
        self._sent = [*self._sent, now][-PRESENCE_LIMIT:]

    def free_at(self, now: float) -> float:
        """Return when the next presence may go: `now`, or a later moment."""
        if len(self._sent) < PRESENCE_LIMIT:
            return now
        return max(now, self._sent[0] + PRESENCE_WINDOW_S + SEND_WINDOW_PADDING_S)
