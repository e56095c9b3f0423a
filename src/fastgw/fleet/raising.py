"""Errors that others keep, raised as often as somebody asks."""

from __future__ import annotations

import copy

__all__ = ["anew"]


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
