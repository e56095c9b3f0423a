"""Errors that are raised in several places: that others keep, or of a value that is none."""

from __future__ import annotations

import copy
import traceback
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..quoting import quote

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["anew", "check_shard_id", "without_insides"]

# Whose frames say nothing to who wrote the program.
_INSIDES = frozenset({"fastgw", "asyncio", "concurrent", "ssl", "threading", "uvloop"})


def check_shard_id(value: object, count: int | None = None) -> None:
    """Refuse what is no shard id of any bot, or of `count` shards; True and 1.0 are none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{quote(value)} is no shard id")
    if count is not None and not 0 <= value < count:
        raise UsageError(f"shard {value} is not one of 0 to {count - 1}")


def anew(error: BaseException) -> BaseException:
    """
    Return an error to raise that is kept, and was or will be raised elsewhere.

    Each `raise` of one object adds to its traceback, and `raise ... from` takes its cause away. So
    it is a copy, with the cause and the traceback of the first; one that cannot be copied comes
    itself, without its traceback.
    """
    try:
        fresh = copy.copy(error)
    except Exception:  # somebody else's class
        return error.with_traceback(None)
    fresh.__cause__, fresh.__context__ = error.__cause__, error.__context__
    fresh.__suppress_context__ = error.__suppress_context__
    return fresh.with_traceback(error.__traceback__)


def without_insides(error: BaseException) -> BaseException:
    """
    Return an error without its traceback where that leads through fastgw and the loop alone.

    The same holds of what caused it. A traceback with any frame of the program, such as one of its
    session store, stays.
    """
    one: BaseException | None = error
    seen: set[int] = set()  # a program may raise an error from itself
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if _is_inside(one.__traceback__):
            one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _is_inside(trace: TracebackType | None) -> bool:
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace))
    return all(name.partition(".")[0] in _INSIDES for name in names)
