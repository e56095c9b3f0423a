"""A machine that was suspended, noticed by its clocks."""

from __future__ import annotations

__all__ = ["SleepWatch"]

# Wall clock ahead of monotonic by more than this between two looks: the machine slept.
SLEEP_GAP_S = 5.0


class SleepWatch:
    """Compares the two clocks from look to look; made with a connection, gone with it."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def has_slept(self, now: float, wall: float) -> bool:
        """
        Tell whether the machine was suspended since the look before.

        Args:
            now: monotonic seconds, which may stand still meanwhile.
            wall: seconds of a clock that goes on. A jump back, or a small one, says nothing.
        """
        before, self._last = self._last, (now, wall)
        if before is None:
            return False
        return (wall - before[1]) - (now - before[0]) > SLEEP_GAP_S
