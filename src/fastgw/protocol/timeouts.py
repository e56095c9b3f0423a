"""How long each phase of a connection may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError

__all__ = ["Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    Seconds each phase of a connection may take.

    Attributes:
        open_s: DNS, TCP, TLS and upgrade together; kept by the transport.
        hello_s: from the upgrade to HELLO.
        ready_s: from IDENTIFY to READY. Long: in an outage the session comes eventually while ACKs
            flow, and each new IDENTIFY costs one of the day's budget. Begins anew while reading is
            paused.
        resumed_s: from RESUME, or the last replayed dispatch, to RESUMED; begins anew likewise.
        close_s: from our CLOSE frame to the end; then the transport is aborted.
        tls_shutdown_s: from the abort to the end; then the connection counts as ended.
    """

    open_s: float = 20.0
    hello_s: float = 20.0
    ready_s: float = 180.0
    resumed_s: float = 60.0
    close_s: float = 3.0
    tls_shutdown_s: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise UsageError(f"timeout {name}={value!r} is not a positive number of seconds")
