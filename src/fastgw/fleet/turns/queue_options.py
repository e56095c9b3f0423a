"""What an identify queue may be told: numbers that cannot be are refused where they are said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ...errors import UsageError
from .budget import check_reserve

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TurnRules", "check_functions", "check_rules"]

# Who waits for a turn that another process holds looks this many times an interval.
LOOKS_AN_INTERVAL = 50


class TurnRules(NamedTuple):
    """What an identify queue was told; max_concurrency and reserve are None for the usual."""

    max_concurrency: int | None
    interval_s: float
    padding_s: tuple[float, float]
    reserve: int | None
    random: Callable[[], float]

    def spacing_s(self) -> float:
        """Draw how long after the write of an IDENTIFY its key is free again."""
        least, most = self.padding_s
        return self.interval_s + least + (most - least) * self.random()

    @property
    def look_s(self) -> float:
        """Seconds between two looks at a turn that another process holds."""
        return self.interval_s / LOOKS_AN_INTERVAL


def check_rules(
    max_concurrency: int | None,
    interval_s: float,
    padding_s: tuple[float, float],
    reserve: int | None,
    random: Callable[[], float],
) -> TurnRules:
    """Return what a user told; raise UsageError for what no queue can work with."""
    _check_numbers(max_concurrency, interval_s, padding_s)
    check_functions(random=random)
    return TurnRules(max_concurrency, interval_s, padding_s, check_reserve(reserve), random)


def _check_numbers(max_concurrency: object, interval_s: object, padding_s: object) -> None:
    if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
        raise UsageError(f"max_concurrency is {max_concurrency!r}; it must be at least 1, or None")
    if not _is_time(interval_s):
        raise UsageError(f"interval_s={interval_s!r} is not a number of seconds, 0 or more")
    if not (
        isinstance(padding_s, (tuple, list))
        and len(padding_s) == 2
        and all(map(_is_time, padding_s))
        and padding_s[0] <= padding_s[1]
    ):
        raise UsageError(f"padding_s={padding_s!r} is not (least, most) in seconds, such as (0, 1)")


def check_functions(**functions: object) -> None:
    """Raise UsageError for the first of them that cannot be called."""
    for name, function in functions.items():
        if not callable(function):
            raise UsageError(f"{name}={function!r} is not a function")


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and type(value) is not bool and 0 <= value < math.inf
