"""The metrics of all workers, and the endpoint that serves them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..metrics.gathering import Gathering
from ..options import check_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..metrics.document import Document
    from ..metrics.endpoint import Endpoint
    from .child import Child
    from .seat import Seat

__all__ = ["Watching"]

# A worker says something every second, from its event loop.
SAID_EVERY_S = 1.0


class Watching:
    """
    Serves what workers told, from `start` to `close`.

    Args:
        metrics: as `ProcessOptions` has it; None serves nothing.
    """

    def __init__(self, metrics: str | int | None) -> None:
        self._where = check_metrics(metrics)
        self._gathering = Gathering()
        self._seats: list[Seat] = []
        self._shard_count = 0
        self._endpoint: Endpoint | None = None

    def start(self, seats: list[Seat], shard_count: int) -> None:
        """
        Serve them.

        Raises:
            UsageError: nothing can listen there.
        """
        self._seats, self._shard_count = seats, shard_count
        if self._where is not None:
            from ..metrics.endpoint import Endpoint

            self._endpoint = Endpoint(*self._where, self._document)

    def look(self, leaving: Iterable[Child]) -> None:
        """Take what workers told, those too that leave; called several times a second."""
        children = [child for seat in self._seats for child in (seat.child, seat.successor)]
        self._gathering.look(
            {
                child.pid: child.document
                for child in (*children, *leaving)
                if child is not None and child.document is not None and not child.has_ended
            }
        )

    def close(self) -> None:
        """End it."""
        if self._endpoint is not None:
            self._endpoint.close()

    def _document(self) -> Document:
        now = time.monotonic()
        return self._gathering.document(
            [_process(seat, now) for seat in self._seats], self._shard_count
        )


def _process(seat: Seat, now: float) -> dict[str, Any]:
    status = seat.status(is_closing=False)
    silent_for_s = 0.0 if seat.child is None else now - seat.child.heard_at - SAID_EVERY_S
    return {
        "index": seat.index,
        "pid": status.pid,
        "phase": status.phase,
        "restarts": status.restarts,
        "silent_for_s": max(0.0, silent_for_s),
        "shard_ids": seat.shard_ids,
    }
