"""
The clock that processes share: seconds since the machine was booted, and which boot that was.

`time.monotonic()` stands still while the machine sleeps, and wall time jumps. What processes of one
machine tell each other (turns, the day's identifies, when a session was last seen) is in seconds
since boot, with the boot's name; only across a boot, where nothing better is left, wall time judges
how old something is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import UsageError

__all__ = ["BootClock", "Stamp", "age_s", "check_clock", "system_boot_clock", "wall_seconds"]

# Seconds since 1970, for texts and for dates that outlive a boot; it times nothing.
wall_seconds = time.time


@dataclass(frozen=True, slots=True)
class Stamp:
    """
    A moment, as a process writes it down for others.

    Attributes:
        boot_id: which boot.
        boot_s: seconds since then.
        wall_s: seconds since 1970, by a clock that may jump.
    """

    boot_id: str
    boot_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class BootClock:
    """
    The clocks of this machine.

    Attributes:
        boot_id: changes with every boot; "" where the system does not tell.
        boot: seconds since boot, sleep included.
        wall: seconds since 1970.
        monotonic: what this process times with.
    """

    boot_id: str
    boot: Callable[[], float]
    wall: Callable[[], float] = wall_seconds
    monotonic: Callable[[], float] = time.monotonic

    def stamp(self) -> Stamp:
        """Return this moment, to be written down."""
        return Stamp(self.boot_id, self.boot(), self.wall())

    def as_monotonic(self, boot_s: float) -> float:
        """Return a moment of the boot clock in monotonic seconds of this process."""
        return self.monotonic() + (boot_s - self.boot())


def age_s(then: Stamp, now: Stamp) -> float | None:
    """
    Return how long ago `then` was, in seconds; None when nobody can tell.

    Within one boot wall time is not looked at. Across a boot it is all there is, and when it went
    backwards the age is unknown.
    """
    # Where boots have no names, a moment that is still to come is of another boot.
    if then.boot_id == now.boot_id and then.boot_s <= now.boot_s:
        return now.boot_s - then.boot_s
    age = now.wall_s - then.wall_s
    return age if age >= 0 else None


def system_boot_clock() -> BootClock:
    """Return the clock of this machine."""
    return BootClock(_boot_id(), _boot_seconds())


def check_clock(clock: object) -> BootClock:
    """Return what a user passed as the clocks of the machine; None is the real ones."""
    if clock is None:
        return system_boot_clock()
    if not isinstance(clock, BootClock):
        raise UsageError(f"clock={clock!r} is not a BootClock; leave it out")
    return clock


def _boot_seconds() -> Callable[[], float]:
    # On macOS CLOCK_MONOTONIC goes on during sleep, time.monotonic() does not. Windows: both do.
    name = "CLOCK_BOOTTIME" if sys.platform.startswith("linux") else "CLOCK_MONOTONIC"
    number = getattr(time, name, None)
    if number is None:
        return time.monotonic
    return lambda: time.clock_gettime(number)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        pass
    if sys.platform != "darwin":
        return ""
    import ctypes  # two milliseconds that no other platform needs to wait for

    size = ctypes.c_size_t(64)
    text = ctypes.create_string_buffer(size.value)
    try:
        asked = ctypes.CDLL(None).sysctlbyname(
            b"kern.bootsessionuuid", text, ctypes.byref(size), None, ctypes.c_size_t(0)
        )
    except (OSError, AttributeError):
        return ""
    return text.value.decode("ascii", "replace") if asked == 0 else ""
