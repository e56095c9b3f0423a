"""
The way out of one shard: what waits to be written, and the connection that it goes to.

Every command goes this way, the protocol's own too, so that the budget counts all, and so that
nothing is written by a process that may not speak for the shard any more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import ConnectionClosed
from ..log import careful_logger
from .budget import SendBudget
from .commands import CommandQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..connection.websocket import Connection

__all__ = ["Outbox"]

log = careful_logger("fastgw.shard")


class Outbox:
    """
    What one shard writes.

    Args:
        shard_id: whose.
        may_speak: tells whether this process may still write for a shard.
    Attributes:
        queue: what waits.
        connection: where it goes; None before the upgrade and after the end.
    """

    __slots__ = ("_may_speak", "_shard_id", "connection", "queue")

    def __init__(self, shard_id: int, may_speak: Callable[[int], bool]) -> None:
        self.queue = CommandQueue(SendBudget())
        self.connection: Connection | None = None
        self._shard_id = shard_id
        self._may_speak = may_speak

    def write(self, commands: Iterable[bytes], *, is_counted: bool = False) -> None:
        """Queue what the protocol wants to send, before all else; write what may go now."""
        for command in commands:
            self.queue.put_urgent(command, is_counted=is_counted)
        self.pump()

    def pump(self) -> None:
        """Write what may go now."""
        connection = self.connection
        if connection is None or not connection.is_open or not self._may_speak(self._shard_id):
            return
        try:
            self.queue.pump(time.monotonic(), connection.send)
        except ConnectionClosed:
            said = {"shard_id": self._shard_id}
            log.debug("shard %d: the connection closed while writing", self._shard_id, extra=said)

    def timer_at(self, now: float) -> float | None:
        """
        Return when more may go; None when nothing waits for that, or it has nowhere to go.

        Nor for who may not speak: the timer would find the same, at once, and again.
        """
        connection = self.connection
        if connection is None or (at := self.queue.timer_at(now)) is None:
            return None
        return at if connection.is_open and self._may_speak(self._shard_id) else None
