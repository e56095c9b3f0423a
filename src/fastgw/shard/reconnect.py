"""
When a shard may try again: the waiting half of its reconnect policy.

Which way to go (resume host, main host, new session) is the protocol's, in `session`. Here:

- the first attempt after a connection that was up goes at once (a session waits only "a few
  minutes" for its RESUME, Discord docs, "Resuming");
- attempts that fail, and connections that come up only to die, wait longer and longer, those that
  would resume never long;
- repeated identifies wait much longer: each costs one of the day's budget, whose end resets the
  token;
- a READY or RESUMED that held begins all of that anew;
- where the service says how long to wait (op 9), that is the wait, whatever failed before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import (
    CertificateRefused,
    GatewayInfoError,
    HandshakeRefused,
    NotAWebSocket,
    NotCompressed,
    ProxyRefused,
    UsageError,
)
from ..protocol.signals import Cause, Ended
from ..words import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.signals import Outcome, Signal

__all__ = ["BACKOFF_S", "Backoff", "ReconnectPolicy", "check_backoff", "is_permanent"]

# The first backoff of attempts that fail, and its cap; drawn with full jitter.
BACKOFF_S = (1.0, 60.0)
# A session that could be resumed lives for minutes and is missed every second: after an outage a
# cap of 60 s meant 49 s of silence where discord.py had taken 12. A RESUME costs no budget.
RESUME_CAP_S = 10.0
# A connection that was READY this long did not flap: its end deserves an attempt at once, and a
# backoff that begins anew.
STABLE_S = 5.0
# Each IDENTIFY is one of 1000 a day (Discord docs, "Session Start Limit object"): with full jitter
# a cap under 600 s could spend them all on one shard that never comes up. So repeated identifies
# wait this many times as long as other attempts: 10 to 600 s.
IDENTIFY_FACTOR = 10.0


class Backoff:
    """Delays between attempts: exponential with full jitter, from `first_s` up to `cap_s`."""

    __slots__ = ("_random", "attempts", "cap_s", "first_s")

    def __init__(
        self, random: Callable[[], float], *, first_s: float = 1.0, cap_s: float = 60.0
    ) -> None:
        self._random = random
        self.first_s = first_s
        self.cap_s = cap_s
        self.attempts = 0  # delays given out since the last reset

    def reset(self) -> None:
        """Begin anew."""
        self.attempts = 0

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

    __slots__ = (
        "_connect_at",
        "_connects",
        "_identifies",
        "_identify_at",
        "_resume_at",
        "_resumes",
    )

    def __init__(
        self, random: Callable[[], float], backoff_s: tuple[float, float] = BACKOFF_S
    ) -> None:
        first_s, cap_s = backoff_s
        self._connects = Backoff(random, first_s=first_s, cap_s=cap_s)
        self._resumes = Backoff(random, first_s=first_s, cap_s=min(cap_s, RESUME_CAP_S))
        self._identifies = Backoff(
            random, first_s=first_s * IDENTIFY_FACTOR, cap_s=cap_s * IDENTIFY_FACTOR
        )
        self._connect_at = self._resume_at = self._identify_at = -math.inf

    def note(self, signal: Signal, now: float) -> None:
        """Take what the protocol reports."""
        if isinstance(signal, Ended) and signal.outcome.action is not Action.STOP:
            self.connection_ended(signal.outcome, now)

    def attempt_at(self, *, resume: bool) -> float:
        """Return the earliest time of the next attempt, in monotonic seconds."""
        return self._resume_at if resume else max(self._connect_at, self._identify_at)

    def connection_ended(self, outcome: Outcome, now: float) -> None:
        """A connection, or an attempt at one, came to its end at `now`."""
        ready_for_s = outcome.ready_for_s
        connect_s = resume_s = 0.0
        if ready_for_s is not None and ready_for_s >= STABLE_S:
            for backoff in (self._connects, self._resumes, self._identifies):
                backoff.reset()
            self._identify_at = -math.inf
        elif outcome.cause is not Cause.INVALID_SESSION:
            # The first connection that dies young is followed at once as well, but remembered.
            is_first_flap = ready_for_s is not None and self._connects.attempts == 0
            connect_s, resume_s = self._connects.next_delay_s(), self._resumes.next_delay_s()
            if is_first_flap:
                connect_s = resume_s = 0.0
        # What the service asked for is a floor, not an addition.
        self._connect_at = now + max(connect_s, outcome.delay_s)
        self._resume_at = now + max(resume_s, outcome.delay_s)

    def identify_written(self, now: float) -> None:
        """IDENTIFY is written: the next one waits, unless the session of this one holds."""
        self._identify_at = now + self._identifies.next_delay_s()


def check_backoff(backoff_s: object) -> tuple[float, float]:
    """Return what a user gave as (first, cap) in seconds; raise UsageError when it is neither."""
    if isinstance(backoff_s, (tuple, list)) and len(backoff_s) == 2:
        first_s, cap_s = backoff_s
        numbers = type(first_s) in (int, float) and type(cap_s) in (int, float)
        if numbers and 0 < first_s <= cap_s and math.isfinite(cap_s):
            return float(first_s), float(cap_s)
    raise UsageError(
        f"backoff_s={backoff_s!r} is not (first, cap) in seconds, above 0, such as {BACKOFF_S}"
    )


def is_permanent(error: BaseException | None) -> bool:
    """
    Tell whether a failed start will fail again until somebody changes something.

    The network being down, names that do not resolve, refusals and 5xx pass; a certificate that is
    not trusted, an answer that is not a websocket, one without the compression that was named and
    HTTP 4xx (but 408, 425 and 429), also of a proxy, do not. This is for a gateway that has never
    worked: in one that has, all of them are bad moments.
    """
    if isinstance(error, (HandshakeRefused, GatewayInfoError, ProxyRefused)):
        status = error.status
        if status is None:
            return isinstance(error, GatewayInfoError)
        return status < 500 and status not in (408, 425, 429)
    return isinstance(error, (CertificateRefused, NotAWebSocket, NotCompressed))
