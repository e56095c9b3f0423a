"""
What lives as long as one connection: made by `connecting()`, forgotten at its end.

Nothing of it has to be reset by anybody: the next connection begins with another one.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .heartbeat import Heartbeat
from .replay import Replay
from .session import Plan
from .signals import Outcome
from .sleep import SleepWatch

__all__ = ["Attempt", "Deadline", "DeadlineKind"]


class DeadlineKind(Enum):
    """What a connection waits for, each for its time of `Timeouts`."""

    HELLO = "HELLO"
    READY = "READY"
    RESUMED = "RESUMED"
    CLOSE = "the peer's CLOSE, or the end of TCP, after ours"
    ABORT = "the end, after the abort"


class Deadline(NamedTuple):
    """Until when (monotonic seconds) something must have happened."""

    kind: DeadlineKind
    at: float


class Attempt:
    """
    One attempt at a connection, and the connection that comes of it.

    Attributes:
        plan: where to, and what for.
        deadline: the one that runs now; None while there is nothing to wait for.
        heartbeat: the beat, from HELLO on.
        replay: from RESUME on; so it also says that RESUME was written.
        identify_written: whether IDENTIFY was.
        ready_at: when it became READY; None while it is not.
        early_at: when another early heartbeat may be wanted; None when none is.
        ending: how it will end, once we have begun to close.
        received: messages so far, a sign of life where bytes are not counted.
        last_byte_at: when anything came last, as far as anybody has looked; None before.
        is_paused: whether we do not read from it for now.
        sleep: notices that the machine was suspended.
    """

    __slots__ = (
        "_bytes_received", "deadline", "early_at", "ending", "heartbeat", "identify_written",
        "is_paused", "last_byte_at", "plan", "ready_at", "received", "replay", "sleep",
    )  # fmt: skip

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deadline: Deadline | None = None
        self.heartbeat: Heartbeat | None = None
        self.replay: Replay | None = None
        self.identify_written = False
        self.ready_at: float | None = None
        self.early_at: float | None = None
        self.ending: Outcome | None = None
        self.received = 0
        self.last_byte_at: float | None = None
        self._bytes_received = 0
        self.is_paused = False
        self.sleep = SleepWatch()

    def wait_for(self, kind: DeadlineKind, until: float) -> None:
        """Let this deadline run, instead of whichever ran."""
        self.deadline = Deadline(kind, until)

    def note_bytes(self, bytes_received: int, now: float) -> None:
        """Take the bytes received so far; dispatches are seen here alone."""
        if bytes_received != self._bytes_received:
            self._bytes_received = bytes_received
            self.last_byte_at = now

    @property
    def had_session(self) -> bool:
        """Whether it is READY, or was until we began to close it."""
        return self.ready_at is not None or (
            self.ending is not None and self.ending.ready_for_s is not None
        )

    def ready_for_s(self, now: float) -> float | None:
        """Return for how long it has been READY; None while it is not."""
        return None if self.ready_at is None else now - self.ready_at
