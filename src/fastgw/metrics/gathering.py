"""
The document of several processes: what each of them told last, put together.

Counts never fall: those of a process that has ended stay in the sum. A shard whose process is gone
or has just begun is away since it was READY last, whichever process that was in. One that nobody
has told of yet is there as well, so that it is missed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from ..protocol.states import State
from .document import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .document import Document

__all__ = ["Gathering"]


class Gathering:
    """
    What processes told, by process id. Written by one thread, read by any.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._told: dict[int, Document] = {}
        self._past: Any = None  # counts of those that have ended
        self._shards: dict[int, dict[str, Any]] = {}  # as they were told last
        self._ready_at: dict[int, float] = {}
        self._budget: Any = None

    def look(self, told: Mapping[int, Document]) -> None:
        """Take what the processes that there are told last; what is missing has ended."""
        with self._guard:
            for pid, document in told.items():
                if self._told.get(pid) is not document:
                    self._told[pid] = document
                    self._take(document)
            for pid in self._told.keys() - told.keys():
                self._past = added(self._past, self._told.pop(pid)["counts"])

    def document(self, processes: list[dict[str, Any]], shard_count: int) -> Document:
        """
        Return the document of all of them.

        Args:
            processes: `index`, `pid`, `phase`, `restarts`, `silent_for_s` and `shard_ids` of each.
        """
        with self._guard:
            counts: Any = self._past
            for told in self._told.values():
                counts = added(counts, told["counts"])
            return {
                **envelope(shard_count),
                "processes": [self._process(process) for process in processes],
                "shards": [
                    self._shard(shard_id, process)
                    for process in processes
                    for shard_id in process["shard_ids"]
                ],
                "identify_budget": self._budget,
                "refusal": next(filter(None, (t["refusal"] for t in self._told.values())), None),
                "counts": _EMPTY if counts is None else counts,
            }

    def _take(self, document: Document) -> None:
        now = self._clock()
        for shard in document["shards"]:
            self._shards[shard["shard_id"]] = shard
            if shard["is_ready"]:
                self._ready_at[shard["shard_id"]] = now
        # Each knows of the others' identifies as of its own last turn: the latest to look knows.
        budget, last = document["identify_budget"], self._budget
        if budget is not None and (last is None or budget["seen_at"] >= last["seen_at"]):
            self._budget = budget

    def _process(self, process: dict[str, Any]) -> dict[str, Any]:
        told = self._told.get(process["pid"])
        figures = _IDLE if told is None else told["processes"][0]
        own = {name: value for name, value in process.items() if name != "shard_ids"}
        return {**figures, **own}

    def _shard(self, shard_id: int, process: dict[str, Any]) -> dict[str, Any]:
        told = self._shards.get(shard_id, _UNTOLD)
        shard = {**told, "shard_id": shard_id, "process": process["index"]}
        if process["pid"] not in self._told:  # nothing of now is known of it
            shard |= {"status": "stopped", "is_ready": False}
        if not shard["is_ready"] and shard_id in self._ready_at:
            shard["away_for_s"] = self._clock() - self._ready_at[shard_id]
        return shard


_IDLE: dict[str, Any] = {
    "told_at": None, "loop_lag_s": None, "loop_lag_worst_s": None, "handlers_running": 0,
    "handlers_waiting": 0, "unhandled": 0, "unhandled_bytes": 0, "kept_bytes": 0,
    "reading_held_by": {}, "sharing": None, "publisher": None, "consumer": None,
}  # fmt: skip
# A shard that no process has told of.
_UNTOLD: dict[str, Any] = {
    "status": State.DISCONNECTED.value, "is_ready": False, "last_byte_age_s": None,
    "last_ack_age_s": None, "last_dispatch_age_s": None, "latency_s": None, "latency_age_s": None,
    "ready_for_s": None, "session_for_s": None, "away_for_s": None, "heartbeat_interval_s": None,
    "commands_waiting": 0, "send_room": 0, "buffer_bytes": 0, "reading_paused_by": [],
}  # fmt: skip
_EMPTY: dict[str, Any] = {
    "total": {}, "shards": {}, "events": {}, "latency": {}, "loop_blocked": 0, "turns_cut": 0,
    "relieved": 0, "handler_failures": {}, "events_dropped": {}, "publisher": None,
    "consumer": None,
}  # fmt: skip


def added(one: Any, other: Any) -> Any:
    """Add counts up, number by number; what one of them has not counts as nothing."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict):
        names = dict.fromkeys([*one, *other])
        return {name: added(one.get(name), other.get(name)) for name in names}
    if isinstance(one, list):
        return [added(a, b) for a, b in zip(one, other, strict=True)]
    return one + other
