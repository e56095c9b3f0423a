"""
What a shard has to send: urgent commands at once, users' commands when they may go.

Users' commands wait, in order, until the session is up and the send budget has room. They outlive a
connection that is resumed; when their session is lost they fail, because what they were about
(a voice state, a member request) belongs to it. Time comes in as `now`; `write` is the socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import SendQueueFull
from ..protocol.wire import is_heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from .budget import SendBudget

__all__ = ["CommandQueue"]

# At 117 a minute the last of these goes out after four minutes: longer queues hide a mistake.
MAX_WAITING = 500


class CommandQueue:
    """
    The send queue of one shard.

    Attributes:
        budget: counts everything that goes out on the current connection.
        is_open: True while users' commands may go: between READY or RESUMED and the end.
        limit: how many commands of users may wait.
    """

    __slots__ = ("_urgent", "_waiting", "budget", "is_open", "limit")

    def __init__(self, budget: SendBudget, *, limit: int = MAX_WAITING) -> None:
        self.budget = budget
        self.is_open = False
        self.limit = limit
        self._urgent: deque[tuple[bytes, bool]] = deque()  # and whether the budget has counted it
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()

    def __len__(self) -> int:
        """Return how many commands of users wait."""
        return sum(not written.done() for _, written in self._waiting)

    def new_connection(self) -> None:
        """Begin a connection: nothing was sent on it, nothing urgent is left for it."""
        self.is_open = False
        self._urgent.clear()
        self.budget.reset()

    def put_urgent(self, command: bytes, *, is_counted: bool = False) -> None:
        """
        Queue a heartbeat, identify or resume; it goes before everything else.

        Args:
            is_counted: the budget has counted it already (`SendBudget.take_answer`).
        """
        self._urgent.append((command, is_counted))

    def put(self, command: bytes) -> asyncio.Future[None]:
        """
        Queue a user's command; the future is done when it is written. Cancelling it takes it back.

        Raises:
            SendQueueFull: `limit` commands wait already.
        """
        if len(self._waiting) >= self.limit:
            self._drop_cancelled()
            if len(self._waiting) >= self.limit:
                raise SendQueueFull(
                    f"{self.limit} commands wait to be sent already, and about 117 may go in a "
                    f"minute; send less or wait for earlier ones",
                    limit=self.limit,
                )
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, written))
        return written

    def put_unwatched(self, command: bytes) -> None:
        """Queue a command as users do; lost with its session, or for want of room, it is gone."""
        with suppress(SendQueueFull):
            self.put(command).add_done_callback(_see_error)

    def pump(self, now: float, write: Callable[[bytes], None]) -> None:
        """
        Write whatever may go at `now`. After this, re-arm `timer_at()`.

        Whatever `write` raises ends it; the command it was about is still queued.
        """
        while self._urgent:
            command, is_counted = self._urgent[0]
            if not is_counted and not self.budget.take_urgent(now, is_beat=is_heartbeat(command)):
                return
            write(command)
            self._urgent.popleft()
        if not self.is_open:
            return
        while self._waiting:
            command, written = self._waiting[0]
            if not written.done():
                if not self.budget.take(now):
                    return
                write(command)
                written.set_result(None)
            self._waiting.popleft()

    def timer_at(self, now: float) -> float | None:
        """Return when `pump` can do more, in monotonic seconds; None when nothing can go."""
        if self._urgent:
            return self.budget.urgent_free_at(now)
        self._drop_cancelled_head()
        if self.is_open and self._waiting:
            return self.budget.free_at(now)
        return None

    def fail(self, error: Exception) -> None:
        """Fail every command of users that waits."""
        waiting, self._waiting = self._waiting, deque()
        for _, written in waiting:
            if not written.done():
                written.set_exception(error)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(item for item in self._waiting if not item[1].done())

    def _drop_cancelled_head(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()


def _see_error(written: asyncio.Future[None]) -> None:
    """Look at the error of a future that nobody waits for, or asyncio tells it as never seen."""
    if not written.cancelled():
        written.exception()
