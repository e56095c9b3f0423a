"""
Who waits for an identify turn that processes share: callers in line, and the turns they get.

Theory. Turns are given at a *desk*: a table in a file, scripts in a server. It is open while
somebody here waits or holds, and the last one to go closes it. Of each key and loop the first in
line asks, again and again, and the others wait behind it: first come, first served among them,
while between processes chance decides. Nobody knows what the desk is about to answer when a caller
is cancelled or fails, so it is told after the question that nobody waits any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ...health.figures import IdentifyBudget

__all__ = ["Attempt", "Desk", "LastSeen", "TurnLines"]


@dataclass(slots=True, eq=False)
class Attempt:
    """One wait for a turn, and then the turn; `number` is what the desk calls it, None before."""

    shard_id: int
    number: int | None = None


class Desk(Protocol):
    """Where turns are given. What it is told it does in order, without being waited for."""

    def ask(self, attempt: Attempt) -> Awaitable[float | None]:
        """
        Give it a turn if there is one, and return None; else in how many seconds to ask again.

        Whoever asks again with one attempt, because no answer came, gets no second turn.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
            UsageError: the desk cannot be used.
        """

    def take_back(self, attempt: Attempt) -> None:
        """Nobody waits any more; should there be a turn by now, it is free again."""

    def written(self, attempt: Attempt) -> None:
        """IDENTIFY is being written now."""

    def released(self, attempt: Attempt, *, is_written: bool) -> None:
        """The turn is over."""

    def close(self) -> None:
        """End it after all that it was told."""


@dataclass(slots=True)
class LastSeen:
    """
    What was seen at the desk, kept from one to the next; written in its thread.

    Attributes:
        max_concurrency: how many keys there are.
        budget: what is left of the day, in monotonic seconds; None before anything was asked.
    """

    max_concurrency: int = 1
    budget: IdentifyBudget | None = None


D = TypeVar("D", bound=Desk)


class TurnLines(Generic[D]):
    """
    The callers of one queue.

    Args:
        open_desk: opens the desk; called when nobody waited or held before. It is given the one
            before, None the first time: what that was told comes first.
        seen: of which is taken how many keys there are.
    """

    def __init__(self, open_desk: Callable[[D | None], D], seen: LastSeen) -> None:
        self._open_desk = open_desk
        self._seen = seen
        self._guard = threading.Lock()  # of the next three: loops of several threads come here
        self._desk: D | None = None
        self._last: D | None = None  # that one, or the one before
        self._users = 0
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Lock]] = (
            WeakKeyDictionary()
        )

    @property
    def desk(self) -> D | None:
        """The desk, None while it is closed."""
        return self._desk

    @contextlib.contextmanager
    def at_desk(self) -> Iterator[D]:
        """Have it open for what follows."""
        desk = self._enter()
        try:
            yield desk
        finally:
            self._leave(desk)

    async def acquire(self, shard_id: int) -> Turn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        Raises:
            IdentifyBudgetSpent, UsageError: see `Desk.ask`.
        """
        lines = self._lines.setdefault(asyncio.get_running_loop(), {})
        line = lines.setdefault(shard_id % self._seen.max_concurrency, asyncio.Lock())
        attempt = Attempt(shard_id)
        desk = self._enter()
        try:
            async with line:
                while True:
                    wait_s = await desk.ask(attempt)
                    if wait_s is None:
                        break
                    await asyncio.sleep(wait_s)
        except BaseException:
            desk.take_back(attempt)
            self._leave(desk)
            raise

        def released(is_written: bool) -> None:
            desk.released(attempt, is_written=is_written)
            self._leave(desk)

        return Turn(lambda: desk.written(attempt), released)

    # --- inside ----------------------------------------------------------------------------------

    def _enter(self) -> D:
        with self._guard:
            if self._desk is None:
                self._desk = self._last = self._open_desk(self._last)
            self._users += 1
            return self._desk

    def _leave(self, desk: D) -> None:
        with self._guard:
            self._users -= 1
            if self._users == 0:
                self._desk = None
                desk.close()
