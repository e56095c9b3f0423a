"""How all processes are, at one moment: frozen figures."""

from __future__ import annotations

from dataclasses import dataclass

from ..quoting import counted, ranges

__all__ = ["ProcessesStatus", "WorkerStatus"]

# What a line sums up, of one and of several.
_COUNTED = (("identify", "identifies"), ("resume", "resumes"), ("restart", "restarts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """
    One worker.

    Attributes:
        index: its number, from 0; stays when it is started anew.
        pid: of its process now; None while it has none.
        phase: "starting", "running", "replaced" (its successor starts), "restarting" or "ended".
        shard_ids: what it runs.
        share: how many it should run.
        ready: how many of them are READY.
        restarts: how often it was started anew after it died.
        events, identifies, resumes: of its shards, since the start of all, also by processes of
            this number that have ended, as far as they told. They never fall. What other machines
            count is not in them.
        events_per_s: between its last two reports.
        loop_lag_s: the longest that its event loop was late.
        handlers_running: async handlers that have begun and not ended.
    """

    index: int
    pid: int | None
    phase: str
    shard_ids: tuple[int, ...]
    share: int
    ready: int
    restarts: int
    events: int = 0
    events_per_s: float = 0.0
    identifies: int = 0
    resumes: int = 0
    loop_lag_s: float = 0.0
    handlers_running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesStatus:
    """
    All workers.

    Attributes:
        workers: by number.
        shard_count: how many shards the bot has in all, also those of other machines.
        is_closing: the end has begun.
        is_rolling: workers are replaced one after another.
    """

    workers: tuple[WorkerStatus, ...]
    shard_count: int
    is_closing: bool
    is_rolling: bool

    @property
    def shards(self) -> int:
        """How many shards these processes run, or will."""
        return sum(worker.share for worker in self.workers)

    @property
    def ready(self) -> int:
        """How many of them are READY."""
        return sum(worker.ready for worker in self.workers)

    @property
    def is_ready(self) -> bool:
        """Whether all are, and no worker is still to learn its share."""
        is_known = all(worker.share or worker.phase == "running" for worker in self.workers)
        return is_known and self.ready >= self.shards

    @property
    def events_per_s(self) -> float:
        """Events that all of them receive."""
        return sum(worker.events_per_s for worker in self.workers)

    def as_line(self) -> str:
        """Say it in one line."""
        where = counted(len(self.workers), "worker")
        if not self.workers:
            parts = ["no workers yet"]
        elif self.shards:
            parts = [f"{self.ready} of {self.shards} shards READY in {where}"]
        elif self.is_ready:  # others have all of them, and it takes over when one of those ends
            parts = [f"stand-by in {where}, no shards yet"]
        else:
            parts = [f"no shards yet in {where}"]
        parts.append(f"{self.events_per_s:,.0f} events/s")
        counts = (
            counted(sum(getattr(worker, many) for worker in self.workers), one, many)
            for one, many in _COUNTED
        )
        parts.append(f"{', '.join(counts)} here since the start")
        for phase in ("starting", "replaced", "restarting", "ended"):
            found = [worker.index for worker in self.workers if worker.phase == phase]
            if found:
                parts.append(f"{phase}: worker {ranges(found)}")
        if self.is_closing:
            parts.append("closing")
        return ", ".join(parts)
