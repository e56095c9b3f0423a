"""
Whether a shard reads: it does, unless there is a reason not to.

Every reason is kept here, so that one who has nothing against reading any more does not undo the
pause of another. What the program and the marks ask for holds only while the session is up: before
READY or RESUMED nothing that waits for the session could ever end. What the program asked for ends
with its connection; what the marks ask for holds for the next one as well. Frames that wait for the
next turn of the loop stop their connection in any state, for as long as that takes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..connection.websocket import Connection
    from ..protocol.machine import GatewayProtocol

__all__ = ["TURN_S", "Reading", "Reason"]

# How long all shards of a gateway may deliver in one turn of the loop: short enough that nobody
# minds waiting for it, and long enough to be worth stopping and going on. Without it a turn over
# plain TCP may deliver some ten thousand events, half a second.
TURN_S = 0.010


class Reason(Enum):
    """Why a shard does not read."""

    PROGRAM = "asked for by the program"
    PRESSURE = "too much is not handled yet"
    TURN = "others are given a turn of the loop"


class Reading:
    """
    The reasons of one shard, and what follows from them for its connection.

    Args:
        protocol: is told, so that no ACK is missed which we do not read.
    Attributes:
        reasons: why it must not read, now or as soon as its session is up.
    """

    def __init__(self, protocol: GatewayProtocol) -> None:
        self.reasons: set[Reason] = set()
        self._protocol = protocol
        self._connection: Connection | None = None  # while its session is up
        self._behind: Connection | None = None  # while frames of it are kept

    @property
    def paused_by(self) -> tuple[str, ...]:
        """The reasons in words, in a fixed order."""
        return tuple(reason.value for reason in Reason if reason in self.reasons)

    def hold(self, is_held: bool) -> None:
        """Obey the marks of what is not handled."""
        if is_held:
            self.pause(Reason.PRESSURE)
        else:
            self.resume(Reason.PRESSURE)

    def behind(self, connection: Connection, is_behind: bool) -> None:
        """Frames of it are kept for the next turn of the loop; or none are any more."""
        if is_behind:
            self._behind = connection
            self.pause(Reason.TURN)
        elif self._behind is connection:
            self.reasons.discard(Reason.TURN)
            self._apply()
            self._behind = None

    def pause(self, reason: Reason) -> None:
        """Stop reading, for one reason more."""
        self.reasons.add(reason)
        self._apply()

    def resume(self, reason: Reason) -> None:
        """Take a reason back; read when it was the last."""
        self.reasons.discard(reason)
        self._apply()

    def session_is_up(self, connection: Connection | None) -> None:
        """READY or RESUMED came on this connection, which reads as all do at first."""
        self._connection = connection
        if self.reasons:
            self._apply()

    def session_is_down(self) -> None:
        """The connection is on its way out; the next one reads until its session is up."""
        self._connection = None
        self.reasons.discard(Reason.PROGRAM)

    def _apply(self) -> None:
        connection = self._connection or self._behind
        if connection is None or not connection.is_open:
            return
        is_up = self._connection is not None
        is_paused = bool(self.reasons) if is_up else Reason.TURN in self.reasons
        if is_paused and not connection.is_reading_paused:
            connection.pause_reading()
            self._protocol.reading_paused()
        elif not is_paused and connection.is_reading_paused:
            connection.resume_reading()
            self._protocol.reading_resumed()
