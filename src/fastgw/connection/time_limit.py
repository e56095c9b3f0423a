"""
A limit on how long the awaits of a block may take together; `asyncio.timeout` came with 3.11 only.

`asyncio.wait_for` would do, but before 3.12 it loses a cancellation that comes together with a
result, and the error of what it cancelled when that fails for a reason of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["time_limit"]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Cancel the awaits of the `with` block after `seconds`, and raise TimeoutError for it.

    Blocks may be nested, each with a limit of its own. A cancellation from elsewhere stays one.
    """
    task = asyncio.current_task()
    assert task is not None, "a time limit is for a task"
    others = _cancelling(task)
    has_struck = False

    def strike() -> None:
        nonlocal has_struck
        has_struck = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, strike)
    try:
        yield
    except asyncio.CancelledError:
        if has_struck and _uncancel(task) <= others:
            raise asyncio.TimeoutError from None
        raise
    except BaseException:
        if has_struck:  # and the block made something else of it
            _uncancel(task)
        raise
    else:
        if has_struck:
            _uncancel(task)
    finally:
        timer.cancel()


# Before 3.11 the tasks of asyncio do not count, and two cancellations at once are one: ours. Those
# of backports.asyncio.runner count there, too, so the task is asked and not the version.


def _cancelling(task: asyncio.Task[Any]) -> int:
    counted = getattr(task, "cancelling", None)
    return 0 if counted is None else int(counted())


def _uncancel(task: asyncio.Task[Any]) -> int:
    uncancel = getattr(task, "uncancel", None)
    return 0 if uncancel is None else int(uncancel())
