"""
The identify budget: how many IDENTIFYs a bot may still write before its day ends.

Discord resets the token of a bot that identifies more often than `session_start_limit` allows, so
what is left is counted here, between two answers of `GET /gateway/bot` and across restarts, and
below a reserve nothing identifies any more; RESUME costs nothing and goes on.

Theory. A `Window` is what the API said last: so many left when it was asked, all again at the
reset. Of it every IDENTIFY counted since is taken. Without an answer, and after the reset, the
window is the last 24 hours of our own log. `judge` does that sum for whoever keeps the log: a list
in memory (`IdentifyLedger`), or a table that processes share.

No clock is read here. Seconds are of one clock, whichever the keeper of the log has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from time import gmtime, strftime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...errors import IdentifyBudgetSpent, UsageError

if TYPE_CHECKING:
    from ...health.figures import IdentifyBudget
    from ..http.gateway_info import SessionStartLimit

__all__ = [
    "DAY_S",
    "IdentifyLedger",
    "IdentifyLog",
    "Window",
    "check_budget",
    "check_reserve",
    "default_reserve",
    "judge",
    "learn",
]

# Discord docs, "Session start limit object": the limit is for 24 hours.
DAY_S = 86_400.0
# Discord docs, "Identifying": 1000 a day. Larger bots have more, and the API says so.
USUAL_TOTAL = 1_000
# What is kept for the hand that mends things: 50 identifies, or 5 % where that is more.
LEAST_RESERVE = 50


class Window(NamedTuple):
    """
    What the API said last.

    Attributes:
        total: identifies a day.
        remaining: of these, free when it was asked.
        asked_at: when it was asked: before the request went out, so that an IDENTIFY that another
            process writes meanwhile counts.
        reset_at: when `total` are free again.
    """

    total: int
    remaining: int
    asked_at: float
    reset_at: float


class IdentifyLog(Protocol):
    """When identifies were written, in seconds of one clock."""

    def count_since(self, at: float) -> int:
        """Return how many were written at `at` or later."""

    def first_since(self, at: float) -> float | None:
        """Return the first that was written at `at` or later, None when there is none."""


def default_reserve(total: int) -> int:
    """Return what is kept back: 50, or 5 % where that is more, and never above half of it all."""
    return min(max(LEAST_RESERVE, total // 20), total // 2)


def check_reserve(reserve: int | None) -> int | None:
    """Return what a user wants kept back; raise UsageError when it is not a count."""
    is_count = isinstance(reserve, int) and not isinstance(reserve, bool) and reserve >= 0
    if reserve is None or is_count:
        return reserve
    raise UsageError(f"reserve={reserve!r} is not a number of identifies, such as 50")


def learn(
    window: Window | None,
    log: IdentifyLog,
    limit: SessionStartLimit,
    *,
    asked_at: float,
    is_fresh: bool,
) -> Window:
    """
    Return the window after the API's answer.

    Args:
        window: the one before, if there is one.
        log: identifies written so far.
        limit: what was said.
        asked_at: when the question went out.
        is_fresh: whether it was asked just now. An answer that somebody kept says the same at each
            restart, while identifies go on: it may lower what is left, never raise it.
    """
    remaining, reset_at = limit.remaining, asked_at + min(limit.reset_after_s, DAY_S)
    if not is_fresh:
        if window is not None and asked_at < window.reset_at:
            reset_at = min(reset_at, window.reset_at)
        ours = _left(window, log, asked_at, total=limit.total)
        remaining = min(remaining, ours)
    return Window(limit.total, remaining, asked_at, reset_at)


def judge(
    window: Window | None, log: IdentifyLog, now: float, *, reserve: int | None = None
) -> IdentifyBudget:
    """
    Return what is left at `now`.

    Args:
        window: what the API said last, if it was asked.
        log: identifies written so far.
        reserve: None for the usual one.
    """
    from ...health.figures import IdentifyBudget

    total = USUAL_TOTAL if window is None else window.total
    kept = default_reserve(total) if reserve is None else reserve
    remaining = max(0, _left(window, log, now, total=total))
    free_at = None
    if remaining <= kept:
        if window is not None and now < window.reset_at:
            free_at = window.reset_at
        else:
            oldest = log.first_since(_day_began(window, now))
            # Nothing was written and yet nothing is free: a total at or below the reserve.
            free_at = (now if oldest is None else oldest) + DAY_S
    return IdentifyBudget(
        total=total, remaining=remaining, reserve=kept, free_at=free_at, seen_at=now
    )


def _left(window: Window | None, log: IdentifyLog, now: float, *, total: int) -> int:
    if window is not None and now < window.reset_at:
        return window.remaining - log.count_since(window.asked_at)
    return total - log.count_since(_day_began(window, now))


def _day_began(window: Window | None, now: float) -> float:
    """Return when the day that counts at `now` began: 24 h ago, or at a reset since then."""
    day_ago = now - DAY_S
    return day_ago if window is None else max(day_ago, window.reset_at)


def check_budget(budget: IdentifyBudget, *, now: float, wall: float) -> None:
    """
    Raise the error of a budget that is spent, if this one is.

    Args:
        budget: as it stands.
        now: in seconds of the clock that its `free_at` is of, the monotonic one.
        wall: seconds since 1970, for the text.
    Raises:
        IdentifyBudgetSpent: nothing identifies before `free_at`.
    """
    if budget.free_at is None:
        return
    wait_s = max(0.0, budget.free_at - now)
    at = strftime("%Y-%m-%d %H:%M:%S", gmtime(wall + wait_s))
    raise IdentifyBudgetSpent(
        f"{budget.remaining} of {budget.total} identifies are left, and {budget.reserve} are kept "
        f"back: nothing identifies before {at} UTC, in {_spoken(wait_s)}. "
        f"Sessions that can be resumed go on. Find out what identified so often",
        free_at=budget.free_at,
        remaining=budget.remaining,
        total=budget.total,
        reserve=budget.reserve,
    )


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class _Times:
    """A log in memory, oldest first."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = times

    def count_since(self, at: float) -> int:
        return len(self._times) - bisect_left(self._times, at)

    def first_since(self, at: float) -> float | None:
        index = bisect_left(self._times, at)
        return self._times[index] if index < len(self._times) else None


class IdentifyLedger:
    """
    The count of one process, in memory. One thread at a time.

    Args:
        reserve: nothing identifies when this many are left; None for 50, or 5 % where that is more.
    """

    def __init__(self, *, reserve: int | None = None) -> None:
        self._reserve = check_reserve(reserve)
        self._times: list[float] = []
        self._log = _Times(self._times)
        self._window: Window | None = None

    def learn(self, limit: SessionStartLimit, *, asked_at: float, is_fresh: bool) -> None:
        """Take an answer of the API; see the function of that name."""
        self._window = learn(self._window, self._log, limit, asked_at=asked_at, is_fresh=is_fresh)

    def spend(self, now: float) -> None:
        """Count one IDENTIFY: at the latest when it is written, better when it is allowed."""
        self._times.append(now)
        del self._times[: bisect_left(self._times, now - DAY_S)]

    def take_back(self, spent_at: float) -> None:
        """Uncount the one of that time: it was allowed and never written, or is written later."""
        index = bisect_left(self._times, spent_at)
        if index < len(self._times) and self._times[index] == spent_at:
            del self._times[index]

    def budget(self, now: float) -> IdentifyBudget:
        """Return what is left at `now`."""
        return judge(self._window, self._log, now, reserve=self._reserve)
