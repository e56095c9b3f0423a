"""What an identify queue may be told: numbers that cannot be are refused where they are said."""

from __future__ import annotations

import math

from ..errors import UsageError

__all__ = ["check_functions", "check_queue_options"]


def check_queue_options(max_concurrency: object, interval_s: object, padding_s: object) -> None:
    """Raise UsageError for what no queue can work with; see `LocalIdentifyQueue`."""
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
