"""
When a shard may try again: the waiting half of its reconnect policy.

Which way to go (resume host, main host, new session) is the protocol's, in `session`. Here:

- the first attempt after a connection that was up goes at once (a session waits only "a few
  minutes" for its RESUME, Discord docs, "Resuming");
- attempts that fail, and connections that come up only to die, wait longer and longer;
- repeated identifies wait much longer: each costs one of the day's budget, whose end resets the
  token. One that follows a session that held goes at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import (
    CertificateRefused,
    GatewayInfoError,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)
from ..protocol.signals import Closed, Ready, SessionDropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.signals import Outcome, Signal

__all__ = ["BACKOFF_S", "Backoff", "ReconnectPolicy", "check_backoff", "is_permanent"]

# The first backoff of attempts that fail, and its cap; drawn with full jitter.
BACKOFF_S = (1.0, 60.0)
# A connection that was READY this long did not flap: its end deserves an attempt at once, even
# when earlier attempts are still remembered.
IMMEDIATE_AFTER_S = 5.0
# Each IDENTIFY is one of 1000 a day (Discord docs, "Session Start Limit object"): with full jitter
# a cap under 600 s could spend them all on one shard that never comes up. So repeated identifies
# wait this many times as long as other attempts: 10 to 600 s.
IDENTIFY_FACTOR = 10.0
IDENTIFY_STABLE_S = 300.0


class Backoff:
    """
    Delays between attempts: exponential with full jitter, from `first_s` up to `cap_s`.

    It begins anew only after a success that lasted `stable_s`: a connection that comes up and dies
    at once goes on growing the delay.
    """

    __slots__ = ("_random", "_succeeded_at", "attempts", "cap_s", "first_s", "stable_s")

    def __init__(
        self,
        random: Callable[[], float],
        *,
        first_s: float = 1.0,
        cap_s: float = 60.0,
        stable_s: float = 30.0,
    ) -> None:
        self._random = random
        self.first_s = first_s
        self.cap_s = cap_s
        self.stable_s = stable_s
        self.attempts = 0  # delays given out since the last reset
        self._succeeded_at: float | None = None

    def succeeded(self, now: float) -> None:
        """READY or RESUMED came at `now`; nothing is reset before it has proved stable."""
        self._succeeded_at = now

    def failed(self, now: float) -> None:
        """The attempt failed, or what it brought up was lost at `now`."""
        if self._succeeded_at is not None and now - self._succeeded_at >= self.stable_s:
            self.attempts = 0
        self._succeeded_at = None

    def next_delay_s(self) -> float:
        """Return how long to wait before the next attempt, in seconds, and count that attempt."""
        # 2.0 ** n overflows near n = 1024; every cap is reached long before.
        ceiling = min(self.cap_s, self.first_s * 2.0 ** min(self.attempts, 60))
        self.attempts += 1
        return ceiling * self._random()


class ReconnectPolicy:
    """
    Delays of one shard; tell it what happens, ask it for the time of the next attempt.

    Args:
        random: returns a float in [0, 1); each delay is its ceiling times that.
        backoff_s: the ceiling of the first delay and of the longest, in seconds, checked already.
    """

    __slots__ = ("_attempt_at", "_connects", "_identifies", "_identify_at")

    def __init__(
        self, random: Callable[[], float], backoff_s: tuple[float, float] = BACKOFF_S
    ) -> None:
        first_s, cap_s = backoff_s
        self._connects = Backoff(random, first_s=first_s, cap_s=cap_s)
        self._identifies = Backoff(
            random,
            first_s=first_s * IDENTIFY_FACTOR,
            cap_s=cap_s * IDENTIFY_FACTOR,
            stable_s=IDENTIFY_STABLE_S,
        )
        self._attempt_at = float("-inf")
        self._identify_at = float("-inf")

    def note(self, signal: Signal, now: float) -> None:
        """Take what the protocol reports."""
        match signal:
            case Ready():
                self.session_began(now)
            case SessionDropped():
                self.session_dropped(now)
            case Closed(outcome=outcome):
                self.connection_ended(outcome, now)

    def attempt_at(self, *, resume: bool) -> float:
        """Return the earliest time of the next attempt, in monotonic seconds."""
        return self._attempt_at if resume else max(self._attempt_at, self._identify_at)

    def connection_ended(self, outcome: Outcome, now: float) -> None:
        """A connection, or an attempt at one, came to its end at `now`."""
        wait_s = 0.0
        ready_for_s = outcome.ready_for_s
        if ready_for_s is not None:
            self._connects.succeeded(now - ready_for_s)
        self._connects.failed(now)
        if ready_for_s is None:
            wait_s = self._connects.next_delay_s()
        elif ready_for_s < IMMEDIATE_AFTER_S:
            # The first such end goes at once as well, but it is remembered.
            first = self._connects.attempts == 0
            drawn_s = self._connects.next_delay_s()
            wait_s = 0.0 if first else drawn_s
        # What the service asked for is a floor, not an addition.
        self._attempt_at = now + max(wait_s, outcome.delay_s)

    def identify_written(self, now: float) -> None:
        """IDENTIFY is written: the next one waits, unless the session of this one holds."""
        self._identify_at = now + self._identifies.next_delay_s()

    def session_began(self, now: float) -> None:
        """READY came."""
        self._identifies.succeeded(now)

    def session_dropped(self, now: float) -> None:
        """The session is lost: the next attempt identifies."""
        self._identifies.failed(now)
        if self._identifies.attempts == 0:
            self._identify_at = float("-inf")


def check_backoff(backoff_s: object) -> tuple[float, float]:
    """Return what a user gave as (first, cap) in seconds; raise UsageError when it is neither."""
    if isinstance(backoff_s, (tuple, list)) and len(backoff_s) == 2:
        first_s, cap_s = backoff_s
        numbers = isinstance(first_s, (int, float)) and isinstance(cap_s, (int, float))
        if numbers and 0 < first_s <= cap_s and math.isfinite(cap_s):
            return float(first_s), float(cap_s)
    raise UsageError(
        f"backoff_s={backoff_s!r} is not (first, cap) in seconds, above 0, such as {BACKOFF_S}"
    )


def is_permanent(error: BaseException | None) -> bool:
    """
    Tell whether a failed start will fail again until somebody changes something.

    The network being down, names that do not resolve, refusals and 5xx pass; a certificate that is
    not trusted, an answer that is not a websocket and HTTP 4xx (but 408, 425 and 429) do not. This
    is for a gateway that has never worked: in one that has, all of them are bad moments.
    """
    if isinstance(error, (HandshakeRefused, GatewayInfoError)):
        status = error.status
        if status is None:
            return isinstance(error, GatewayInfoError)
        return status < 500 and status not in (408, 425, 429)
    return isinstance(error, (CertificateRefused, NotAWebSocket))
