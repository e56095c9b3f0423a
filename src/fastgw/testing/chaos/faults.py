"""What the chaos proxy does to a connection: one small object a kind, drawn by chance or made."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from .relay import Relay

__all__ = ["KINDS", "ChaosPlan", "Fault", "Stroke"]


class Fault(Enum):
    """What the proxy does to a connection."""

    CUT = "cut"  # FIN to both ends (RST to one whose bytes were not yet read)
    RESET = "reset"  # RST to both ends, bytes on their way are lost
    HALF_OPEN = "half-open"  # both ends stay up, nothing passes any more
    STALL = "stall"  # nothing passes for a while, then everything
    SLICE = "slice"  # the next bytes go one by one
    DELAY = "delay"  # bytes are held back for some milliseconds, for a while
    CORRUPT = "corrupt"  # one bit of the next bytes is flipped
    THROTTLE = "throttle"  # little bandwidth for a while


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """
    How a seeded run chooses its faults; ranges are least and most, drawn uniformly.

    Attributes:
        weights: how often each kind comes, relative to the others.
        every_s: seconds between two faults.
        lasting_s: how long STALL, DELAY and THROTTLE last.
        delay_s: how long DELAY holds bytes back.
        slice_bytes: how many bytes SLICE sends one by one.
        bytes_per_s: the bandwidth that THROTTLE leaves, each way.
    """

    weights: Mapping[Fault, float] = field(default_factory=lambda: dict.fromkeys(Fault, 1.0))
    every_s: tuple[float, float] = (0.05, 0.5)
    lasting_s: tuple[float, float] = (0.05, 0.5)
    delay_s: tuple[float, float] = (0.005, 0.05)
    slice_bytes: tuple[int, int] = (50, 2_000)
    bytes_per_s: tuple[float, float] = (20_000.0, 200_000.0)

    def without(self, *faults: Fault) -> ChaosPlan:
        """Return the same plan without these kinds."""
        return replace(self, weights={f: w for f, w in self.weights.items() if f not in faults})


class Stroke(Protocol):
    """One fault with its sizes."""

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Stroke:
        """Make one whose sizes chance chooses within the plan's ranges."""

    def strike(self, relay: Relay) -> None:
        """Do it to a connection."""


@dataclass(frozen=True, slots=True)
class Cut:
    """FIN to both ends."""

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Cut:
        return cls()

    def strike(self, relay: Relay) -> None:
        relay.end(reset=False)


@dataclass(frozen=True, slots=True)
class Reset:
    """RST to both ends."""

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Reset:
        return cls()

    def strike(self, relay: Relay) -> None:
        relay.end(reset=True)


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Nothing passes any more, and nobody is told."""

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> HalfOpen:
        return cls()

    def strike(self, relay: Relay) -> None:
        relay.half_open()


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing passes for so long; None: until the relay's `release()`."""

    lasting_s: float | None

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Stall:
        return cls(chance.uniform(*plan.lasting_s))

    def strike(self, relay: Relay) -> None:
        relay.stall(self.lasting_s)


@dataclass(frozen=True, slots=True)
class Slice:
    """The next bytes go one by one."""

    count: int

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Slice:
        return cls(chance.randint(*plan.slice_bytes))

    def strike(self, relay: Relay) -> None:
        relay.slice(self.count)


@dataclass(frozen=True, slots=True)
class Delay:
    """What arrives is held back, one read after the other, for a while."""

    delay_s: float
    lasting_s: float

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Delay:
        return cls(chance.uniform(*plan.delay_s), chance.uniform(*plan.lasting_s))

    def strike(self, relay: Relay) -> None:
        relay.delay(self.delay_s, self.lasting_s)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One bit of what passes next is flipped."""

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Corrupt:
        return cls()

    def strike(self, relay: Relay) -> None:
        relay.corrupt()


@dataclass(frozen=True, slots=True)
class Throttle:
    """Little bandwidth, each way, for a while."""

    bytes_per_s: float
    lasting_s: float

    @classmethod
    def draw(cls, chance: random.Random, plan: ChaosPlan) -> Throttle:
        return cls(chance.uniform(*plan.bytes_per_s), chance.uniform(*plan.lasting_s))

    def strike(self, relay: Relay) -> None:
        relay.throttle(self.bytes_per_s, self.lasting_s)


KINDS: Mapping[Fault, type[Stroke]] = {
    Fault.CUT: Cut,
    Fault.RESET: Reset,
    Fault.HALF_OPEN: HalfOpen,
    Fault.STALL: Stall,
    Fault.SLICE: Slice,
    Fault.DELAY: Delay,
    Fault.CORRUPT: Corrupt,
    Fault.THROTTLE: Throttle,
}
