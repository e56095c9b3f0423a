"""`VirtualClock`: time for machines without IO, which passes when a test says so."""

from __future__ import annotations

import math
from typing import Protocol

from ...errors import UsageError

__all__ = ["Timed", "VirtualClock"]


class Timed(Protocol):
    """A machine with one timer, such as a `FakePeer`."""

    def timer_at(self) -> float | None:
        """Return when its timer is due, absolute; None when it has none."""

    def timer(self, now: float) -> None:
        """Note that time has passed."""


class VirtualClock:
    """
    Seconds that pass by `advance()` alone, for tests of protocols.

        clock = VirtualClock()
        peer = FakeService(heartbeat_patience=2.0).connect(now=clock())
        clock.drive(peer)
        clock.advance(90)   # the client sent no heartbeat
        assert peer.close_to_send() == (4009, "Session timed out.")

    Call it for the time it is: it can stand wherever a `clock=` is asked for.

    Args:
        now: the time that it begins with, any number of seconds.
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self._driven: list[Timed] = []

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"<VirtualClock {self.now:g}>"

    def drive(self, machine: Timed) -> None:
        """Tell a machine of each moment that its timer is due, from now on."""
        self._driven.append(machine)

    def advance(self, seconds: float) -> None:
        """
        Let time pass; the timers that are due meanwhile come at their moments, in order.

        Raises:
            UsageError: time does not go back.
        """
        if not 0 <= seconds < math.inf:
            raise UsageError(f"a clock cannot advance by {seconds!r} seconds")
        end = self.now + seconds
        while True:
            due = [(at, i) for i, m in enumerate(self._driven) if (at := m.timer_at()) is not None]
            at, index = min(due, default=(math.inf, -1))
            if at > end:
                break
            # A timer that is due in the past, or stands still, must not stop the clock.
            self.now = max(self.now, at)
            self._driven[index].timer(self.now)
            if self._driven[index].timer_at() == at:
                raise UsageError(f"{self._driven[index]!r} leaves its timer where it was: at {at}")
        self.now = end
