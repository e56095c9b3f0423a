"""What systemd is told: READY=1, WATCHDOG=1 and the like, over the socket that it names."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

__all__ = ["ServiceManager"]


class ServiceManager:
    """
    Who started us, when it wants to be told (sd_notify(3)); else it does nothing.

    Args:
        environment: of the process.
        pid: of the process; a watchdog of another one is none of ours.
    Attributes:
        watchdog_s: at least how often it wants to hear that we live; None when it does not.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract address; vsock and others are not for us.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.is_there = path[:1] in ("@", "/") and hasattr(socket, "AF_UNIX")
        self.watchdog_s: float | None = None
        microseconds = environment.get("WATCHDOG_USEC", "")
        if self.is_there and environment.get("WATCHDOG_PID", str(pid)) == str(pid):
            with contextlib.suppress(ValueError):
                self.watchdog_s = int(microseconds) / 1e6

    def tell(self, **variables: object) -> None:
        """Send the variables, such as `READY=1`; a manager that is gone is not waited for."""
        if not self.is_there:
            return
        text = "\n".join(f"{name}={value}" for name, value in variables.items())
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)


def without_manager(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: only its supervisor talks to the service manager."""
    ours = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {name: value for name, value in environment.items() if name not in ours}
