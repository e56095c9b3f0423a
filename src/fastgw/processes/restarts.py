"""When a worker that ended is started again, and when the command gives up."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Restarts"]

# The first time at once, as one crash says little; then 1 s, doubled each time, with full jitter
# above the half so that workers that crash together do not come back together.
FIRST_S = 1.0
CAP_S = 30.0
# A worker that ran for so long was well: what comes next is something new.
STABLE_S = 30.0
# So many failures in a row at import or start, and the command ends: it would not get better.
FAILED_STARTS = 3


class Restarts:
    """
    The restarts of one worker.

    Args:
        random: gives [0, 1).
    Attributes:
        count: how many there were.
        failed_starts: failures at import or start in a row.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self.count = 0
        self.failed_starts = 0
        self._random = random
        self._crashes = 0

    def ended(self, *, has_started: bool, ran_s: float) -> float | None:
        """
        Take the end of a worker; return after how many seconds to start it again, None for never.

        Args:
            has_started: it got past import and start, or was killed from outside.
            ran_s: for how long it ran since.
        """
        if has_started:
            self.failed_starts = 0
            if ran_s >= STABLE_S:
                self._crashes = 0
        else:
            self.failed_starts += 1
            if self.failed_starts >= FAILED_STARTS:
                return None
        self.count += 1
        return self._next_s(at_once=has_started)

    def refused(self) -> float:
        """Take it that the system had no process to give; return after how long to ask again."""
        return self._next_s(at_once=True)

    def _next_s(self, *, at_once: bool) -> float:
        """Return the next wait; the first of a row may be none."""
        wait_s = 0.0
        if self._crashes or not at_once:
            longest = min(FIRST_S * 2.0 ** max(0, self._crashes - 1), CAP_S)
            wait_s = longest * (0.5 + 0.5 * self._random())
        self._crashes += 1
        return wait_s
