"""What the service manager hears while workers come up, run and end."""

from __future__ import annotations

import time

from .sd_notify import ServiceManager
from .status import ProcessesStatus

__all__ = ["ServiceTeller"]

# Systemd waits 90 s for READY=1 (TimeoutStartSec=), and a thousand shards take minutes: as long as
# we live it is asked for so much more each time (sd_notify(3), EXTEND_TIMEOUT_USEC=).
EXTEND_S = 60
# The status is a line in `systemctl status`; nobody reads it faster.
STATUS_S = 1.0


class ServiceTeller:
    """
    Tells it what changed; call `tell` several times a second.

    Args:
        manager: who is told.
    """

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self._said = ""
        self._status_at = self._alive_at = float("-inf")
        self._was_ready = self._is_rolling = self._is_stopping = False

    def tell(self, status: ProcessesStatus, now: float | None = None) -> None:
        """
        Say what is new.

        Args:
            status: as it is.
            now: monotonic seconds; None for this moment.
        """
        if not self._manager.is_there:
            return
        now = time.monotonic() if now is None else now
        facts: dict[str, object] = {}
        self._phase(status, now, facts)
        watchdog_s = self._manager.watchdog_s
        # Half of it, as sd_watchdog_enabled(3) has it.
        if watchdog_s is not None and now - self._alive_at >= watchdog_s / 2:
            self._alive_at = now
            facts["WATCHDOG"] = 1
        line = status.as_line()
        if facts or (line != self._said and now - self._status_at >= STATUS_S):
            self._said, self._status_at = line, now
            self._manager.tell(**facts, STATUS=line)

    def _phase(self, status: ProcessesStatus, now: float, facts: dict[str, object]) -> None:
        if status.is_closing:
            if not self._is_stopping:
                facts["STOPPING"] = 1
            self._is_stopping = True
        elif not self._was_ready:
            if status.is_ready:
                self._was_ready = True
                facts["READY"] = 1
            elif now - self._status_at >= STATUS_S:
                facts["EXTEND_TIMEOUT_USEC"] = EXTEND_S * 1_000_000
        elif status.is_rolling != self._is_rolling:
            self._is_rolling = status.is_rolling
            if status.is_rolling:
                facts["RELOADING"] = 1
                facts["MONOTONIC_USEC"] = int(now * 1e6)
            else:
                facts["READY"] = 1
