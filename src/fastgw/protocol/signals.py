"""
What the protocol reports to the shard: signals, and the outcome of a connection.

A signal says what happened or what is wanted; what to do about it is the shard's policy.

Signals are named tuples: each frozen dataclass makes `import fastgw` half a millisecond longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from ..words import Action, Initiator
from .states import State

__all__ = [
    "Cause",
    "CloseWanted",
    "Ended",
    "HeartbeatWanted",
    "IdentifyWanted",
    "Outcome",
    "Ready",
    "Resumed",
    "SessionEnded",
    "Signal",
    "StateChanged",
]


class Cause(Enum):
    """Why a connection ended, or why a state moved down."""

    STOPPED = "stopped"  # the user asked
    CLOSED_BY_SERVICE = "closed by service"  # a CLOSE frame came; see close_code
    CONNECTION_LOST = "connection lost"  # the end came without a CLOSE frame
    CONNECT_FAILED = "connect failed"  # DNS, TCP, TLS or the upgrade
    RECONNECT_ASKED = "reconnect asked"  # op 7
    REPLACED = "replaced"  # the user wants another connection
    INVALID_SESSION = "invalid session"  # op 9
    ZOMBIED = "zombied"  # heartbeats without ACK
    SLEPT = "slept"  # the machine was suspended
    HELLO_TIMEOUT = "hello timeout"
    READY_TIMEOUT = "ready timeout"
    RESUMED_TIMEOUT = "resumed timeout"
    PROTOCOL_ERROR = "protocol error"  # the service broke a rule; see error
    EXPIRED = "expired"  # the session is too old, or RESUME met silence too often


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one connection (or one attempt at it) ended, and what the session needs next.

    Two outcomes are equal when action and close_code are; the rest is commentary.

    Attributes:
        action: RESUME, IDENTIFY or STOP.
        close_code: the code received, or the one we sent; None when there was neither.
        reason: the close reason, as text.
        initiator: who began it.
        cause: why.
        delay_s: seconds the service wants us to wait before the next attempt (op 9, 4008). A
            backoff of the shard's own comes beside it (the longer one counts), not on top of it.
        ready_for_s: how long the connection had been READY, in seconds; None when it never was.
            Only an end after some stability deserves an immediate attempt and a fresh backoff.
        error: what broke (ConnectFailed, ProtocolError, FatalError), or None.
    """

    action: Action
    close_code: int | None = None
    reason: str = field(default="", compare=False)
    initiator: Initiator = field(default=Initiator.TRANSPORT, compare=False)
    cause: Cause = field(default=Cause.CONNECTION_LOST, compare=False)
    delay_s: float = field(default=0.0, compare=False)
    ready_for_s: float | None = field(default=None, compare=False)
    error: BaseException | None = field(default=None, compare=False)


class StateChanged(NamedTuple):
    """The state moved; one INFO line and one on_status call each. cause is None on the way up."""

    old: State
    new: State
    cause: Cause | None


class IdentifyWanted:
    """HELLO came and there is no session: call `identify()` as soon as a turn is held."""

    __slots__ = ()


class HeartbeatWanted:
    """
    A heartbeat that is not periodic: call `beat()` at once if the send budget has room.

    The service asked for it (op 1), or a session is up whose latency is to be known early. Without
    room the next periodic heartbeat is the answer.
    """

    __slots__ = ()


class Ready(NamedTuple):
    """A new session began. data is READY's `d`, shared with whoever else got the event."""

    data: Mapping[str, Any]


class Resumed(NamedTuple):
    """
    The session goes on and the replay is complete.

    Attributes:
        replayed: dispatches replayed and new to us.
        duplicates: dispatches replayed that we had; they were dropped.
    """

    replayed: int
    duplicates: int


class SessionEnded(NamedTuple):
    """
    The session cannot be resumed any more: commands that wait for it fail, chunks too.

    Attributes:
        sequence: of the last dispatch that came in it; None when none had one.
        last_byte_at: when its last connection was heard from last, in monotonic seconds; None
            when nobody knows, as of a stored session without an age.
    """

    session_id: str
    cause: Cause
    sequence: int | None = None
    last_byte_at: float | None = None


class CloseWanted(NamedTuple):
    """
    End the connection: `transport.close(close_code, reason)`, or `transport.abort()` when abort.

    May come twice for one connection: first politely, then with abort when nothing answers. While
    CONNECTING it comes with abort and means: cancel the attempt.
    """

    close_code: int
    reason: str
    abort: bool


class Ended(NamedTuple):
    """The connection has ended; exactly one for each `connecting()`, and one for a stop."""

    outcome: Outcome


Signal = (
    StateChanged
    | IdentifyWanted
    | HeartbeatWanted
    | Ready
    | Resumed
    | SessionEnded
    | CloseWanted
    | Ended
)
