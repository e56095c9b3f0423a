"""A Redis that is away, as all say it that need one: what it means, and once that it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..fleet.stores.trouble import Trouble
from .server import is_for_good

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["SharedOutage", "outage"]


def outage(
    log: logging.Logger,
    shown: str,
    *,
    what: str,
    meanwhile: str,
    again: str,
    read: Callable[[Exception], Exception] = lambda error: error,
) -> Trouble:
    """
    Return who tells of the outages of one Redis.

    Args:
        log: where.
        shown: its URL without the password.
        what: is not possible, as "the session store cannot be used".
        meanwhile: what happens until it is, as "sessions are kept in memory".
        again: what happens from then on, as "sessions are stored".
        read: gives an error as a user should read it, without the password.
    """

    def failing(error: Exception) -> str:
        told = read(error)
        said = str(told).rstrip(".") or type(error).__name__
        if shown not in said:
            said = f"{shown}: {said}"
        tried = "" if is_for_good(told) else ", which is tried again"
        return f"{what} ({said}){tried}: {meanwhile} meanwhile"

    return Trouble(log, failing, f"{shown} is there again: {again}")


class SharedOutage:
    """
    One outage of which several tasks of a loop hear: the first to fail tells of it, and the last to
    work again that it is over.

    Args:
        trouble: tells it.
    """

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._failing: set[str] = set()

    def failed(self, task: str, error: Exception) -> None:
        """An attempt of this task failed."""
        self._failing.add(task)
        self._trouble.failed(error)

    def ended(self, task: str) -> None:
        """An attempt of this task did not fail, or it makes none any more."""
        self._failing.discard(task)
        if not self._failing:
            self._trouble.ended()
