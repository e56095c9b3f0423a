"""Errors that are raised in several places: that others keep, or of a value that is none."""

from __future__ import annotations

import copy

from ..errors import UsageError
from ..quoting import quote

__all__ = ["anew", "check_shard_id"]


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
