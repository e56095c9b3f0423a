"""How long things took: counted in buckets, so that the rare long ones are not averaged away."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["BOUNDS_S", "Durations", "Latencies"]

# The upper bounds of the buckets, in seconds: from a fast handler to a lost session.
BOUNDS_S = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations:
    """
    A count of durations; written by one thread, read by any.

    Attributes:
        total_s: all of them together.
        buckets: how many were up to each bound and above the one before; the last: above all.
    """

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        self.buckets = [0] * (len(BOUNDS_S) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self.total_s += seconds
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1


class Latencies:
    """
    Where the time goes, of one gateway; see `LatencyStats`.

    Attributes:
        network, delivery, queue, handler: as there; `loop` is the loop watch's.
    """

    __slots__ = ("delivery", "handler", "network", "queue")

    def __init__(self) -> None:
        self.network = Durations()
        self.delivery = Durations()
        self.queue = Durations()
        self.handler = Durations()

    def delivered(self, waited_s: float, took_s: float) -> None:
        """Count a delivery that was timed: until handlers were called, and until they returned."""
        self.delivery.add(waited_s)
        self.handler.add(took_s)
