"""One worker's place: its number, its shards, and the process that runs them now."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from .child import Child
from .counting import COUNTED
from .restarts import Restarts
from .status import WorkerStatus

__all__ = ["Seat", "ending", "unfitness"]


class Seat:
    """
    A worker's place.

    Attributes:
        index: its number, from 0.
        given: the shards that it runs; None where processes share them out among themselves.
        restarts: when it is started anew.
        lock: held by who starts a process for it.
        child: the process that runs the shards, or ran them last.
        successor: the one that is about to take over.
    """

    def __init__(self, index: int, given: tuple[int, ...] | None, restarts: Restarts) -> None:
        self.index = index
        self.given = given
        self.restarts = restarts
        self.lock = asyncio.Lock()
        self.child: Child | None = None
        self.successor: Child | None = None
        self._counted_before = dict.fromkeys(COUNTED, 0)  # by processes that were here

    def run_by(self, child: Child) -> None:
        """Have another process run the shards; what the one before told of its counts is kept."""
        if self.child is not None:
            for name in COUNTED:
                self._counted_before[name] += self.child.figures.get(name, 0)
        self.child = child

    @property
    def shard_ids(self) -> tuple[int, ...]:
        """What it runs."""
        if self.given is not None:
            return self.given
        return () if self.child is None else self.child.shard_ids

    @property
    def share(self) -> int | None:
        """How many shards it should run; None before that is known."""
        if self.given is not None:
            return len(self.given)
        return None if self.child is None else self.child.share

    def status(self, *, is_closing: bool) -> WorkerStatus:
        """Return how it is now; while all is closing, who has ended is not started anew."""
        child = self.child
        if child is None:
            phase = "starting"
        elif child.has_ended:
            phase = "ended" if is_closing else "restarting"
        elif self.successor is not None:
            phase = "replaced"
        elif not child.is_told_to_go or self.share is None:
            phase = "starting"
        else:
            phase = "running"
        figures = {} if child is None else child.figures
        return WorkerStatus(
            index=self.index,
            pid=None if child is None or child.has_ended else child.pid,
            phase=phase,
            shard_ids=self.shard_ids,
            share=self.share or 0,
            ready=0 if child is None else child.ready,
            restarts=self.restarts.count,
            events_per_s=0.0 if child is None or child.has_ended else child.events_per_s,
            loop_lag_s=figures.get("loop_lag_s", 0.0),
            handlers_running=figures.get("handlers_running", 0),
            **{name: count + figures.get(name, 0) for name, count in self._counted_before.items()},
        )


def unfitness(successor: Child, waited_s: float) -> str | None:
    """Return why a successor that was waited for cannot take over; None when it can."""
    if successor.failure is not None:
        failure = successor.failure
        details = f"\n{failure.details}" if failure.details else ""
        return f"its successor failed at {failure.at}: {failure.error}{details}"
    if successor.has_ended or successor.prepared.cancelled():
        return f"its successor ended before it was prepared: {ending(successor.ended.result())}"
    if not successor.prepared.done():
        return f"its successor was not prepared after {waited_s:.0f} s: the module hangs at import"
    if not successor.prepared.result():
        return (
            "its successor keeps sessions in memory, so each shard would have to identify; a new "
            "start costs the same"
        )
    return None


def ending(code: int) -> str:
    """Say what an exit code means."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
