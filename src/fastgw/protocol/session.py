"""
The session, and the way back to it: where to connect next, and when to give the session up.

The rule (numbers from observed outages of resume hosts and from clients that resumed for ever):
- the first attempts go to the session's resume URL; after two that failed there (refused, 5xx, no
  HELLO, lost before RESUMED) to the main URL, still as RESUME;
- a session is kept as long as the service keeps it. Op 9 false and some close codes end it at once,
  silence to RESUME on a connection that lives after three times, and 300 s after its last byte;
- nothing else does. Op 9 true says that the session is there; a message that breaks the protocol
  says nothing about it, nor does a connection that was merely lost, also when RESUME was written.
  In ten minutes of a bad network, counting losses against sessions ended 16 that the service still
  kept. What an attempt to resume hears makes the session no younger, so none of this goes on for
  ever, and `shard.reconnect` paces it;
- id, sequence and resume URL go together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .._decode import Sequence
from ..errors import UsageError
from .wire import gateway_url

__all__ = ["Plan", "Session", "SessionKeeper"]

MAX_HOST_FAILURES = 2
MAX_SILENCES = 3
# Sessions live "a few minutes" (Discord docs, "Resuming"); five is the most any client tries.
MAX_AGE_S = 300.0


@dataclass(frozen=True, slots=True)
class Session:
    """
    What RESUME needs, as one value: for the store, and to start from a stored one.

    Attributes:
        session_id: from READY.
        sequence: of the last dispatch received.
        resume_url: from READY, without our query.
        shard_id, shard_count: a session only resumes as the shard it was.
    """

    session_id: str
    sequence: int
    resume_url: str
    shard_id: int = 0
    shard_count: int = 1


class Plan(NamedTuple):
    """
    One attempt: where to, and what for.

    Attributes:
        url: complete with query.
        resume: True for RESUME, False for IDENTIFY (take the identify turn before connecting).
        on_resume_host: whether url is the session's own.
    """

    url: str
    resume: bool
    on_resume_host: bool


class SessionKeeper:
    """
    Owner of the session; `GatewayProtocol` alone uses it.

    Attributes:
        main_url: from `GET /gateway/bot`; may be replaced between attempts.
        compress: the transport compression of the query, None for none; may be replaced, too.
        sequence: shared with the decoder, which advances it.
        silences: how often RESUME met silence since RESUMED, or since a replay brought something.
        host_failures: attempts in a row that failed on the resume host.
        main_failures: attempts in a row that failed on the main URL, to resume or to identify.
        last_byte_at: when the connection that the session lost heard from the service last; None
            while it has one.
    """

    __slots__ = (
        "compress", "host_failures", "last_byte_at", "main_failures", "main_url",
        "resume_url", "sequence", "session_id", "silences",
    )  # fmt: skip

    def __init__(self, main_url: str, compress: str | None, sequence: Sequence) -> None:
        gateway_url(main_url, compress)  # raises UsageError early
        self.compress = compress
        self.main_url = main_url
        self.sequence = sequence
        self.session_id: str | None = None
        self.resume_url: str | None = None
        self.silences = 0
        self.host_failures = 0
        self.main_failures = 0
        self.last_byte_at: float | None = None

    def replace_main_url(self, url: str) -> None:
        """Use another main URL from the next attempt on; raises UsageError for a bad one."""
        gateway_url(url, self.compress)
        self.main_url = url
        self.main_failures = 0

    def start(self, session_id: str, resume_url: object) -> None:
        """Begin a new session with READY's fields; an unusable resume URL gives way to main."""
        self.session_id = session_id
        self.resume_url = self._check(resume_url)
        self.silences = self.host_failures = self.main_failures = 0
        self.last_byte_at = None

    def restore(self, session: Session, last_byte_at: float | None) -> None:
        """Begin with a stored session; when its age is unknown only the service can refuse it."""
        self.start(session.session_id, session.resume_url)
        self.sequence.restore(session.sequence)
        self.last_byte_at = last_byte_at

    def _check(self, url: object) -> str | None:
        if not isinstance(url, str) or not url:
            return None
        try:
            gateway_url(url, self.compress)
        except UsageError:
            return None
        # The token goes there: never over plain text when the main URL is encrypted.
        if self.main_url.startswith("wss:") and not url.startswith("wss:"):
            return None
        return url

    def forget(self) -> None:
        """Forget id, sequence and resume URL, together."""
        self.session_id = self.resume_url = None
        self.sequence.clear()

    def is_resumable(self) -> bool:
        """Return whether RESUME could be written; says nothing about whether it should."""
        return self.session_id is not None and self.sequence.last is not None

    def is_expired(self, now: float) -> bool:
        """Return whether RESUME met silence too often, or the last byte is too long ago."""
        too_old = self.last_byte_at is not None and now - self.last_byte_at >= MAX_AGE_S
        return too_old or self.silences >= MAX_SILENCES

    def plan(self) -> Plan:
        """Return the next attempt for what is kept now; expiry is the caller's to look at."""
        if not self.is_resumable():
            return Plan(gateway_url(self.main_url, self.compress), False, False)
        if self.resume_url is not None and self.host_failures < MAX_HOST_FAILURES:
            return Plan(gateway_url(self.resume_url, self.compress), True, True)
        return Plan(gateway_url(self.main_url, self.compress), True, False)

    def connection_ended(self, last_byte_at: float) -> None:
        """
        Note that the session is without connection, and when the one it had was heard from last.

        The session's age counts from there; later attempts that come to nothing change nothing.
        """
        if self.session_id is not None and self.last_byte_at is None:
            self.last_byte_at = last_byte_at

    def attempt_failed(self, plan: Plan, *, silent: bool, host_at_fault: bool) -> None:
        """
        Note an attempt that ended without READY or RESUMED.

        Args:
            silent: RESUME was written, and RESUMED did not come in time.
            host_at_fault: a verdict on the session (op 9) is no fault of the host.
        """
        self.main_failures += host_at_fault and not plan.on_resume_host
        self.silences += silent
        self.host_failures += host_at_fault and plan.on_resume_host

    def progressed(self) -> None:
        """
        Note that a replay brought something new, whether or not RESUMED followed.

        The service took the session and the sequence advanced, so neither its age nor earlier
        silence counts: a long replay over a bad line completes bit by bit.
        """
        self.silences = 0
        self.last_byte_at = None

    def resumed(self, plan: Plan) -> None:
        """Note RESUMED. It carries no resume URL: the old one stays."""
        self.silences = self.main_failures = 0
        self.last_byte_at = None
        # A host that had to be avoided gets one more chance at the next resume, not two.
        self.host_failures = 0 if plan.on_resume_host else MAX_HOST_FAILURES - 1

    def snapshot(self, shard_id: int, shard_count: int) -> Session | None:
        """Return the session as a value, None when there is none to resume."""
        if self.session_id is None or self.sequence.last is None:
            return None
        return Session(
            self.session_id,
            self.sequence.last,
            self.resume_url or self.main_url,
            shard_id,
            shard_count,
        )
