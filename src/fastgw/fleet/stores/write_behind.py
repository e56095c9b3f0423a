"""
Rows on their way into a store: noted by the loop, written by the store's thread.

Theory. Nothing is awaited for an event, so the loop only notes how a row shall stand and wakes the
thread, which takes all that was noted since and hands it to the store's `write` in one piece. What
is being written is in hand: it comes back when that fails, under whatever was noted meanwhile, so a
full disk or a server that is away costs nothing but time. A row that another process may run by now
is left: it is neither written nor removed any more, also not by what is in hand.

Moved by: the loop (`put`, `drop`, `leave`), the thread (`attempt`). One guard is around each step.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .job_thread import JobThread
    from .trouble import Trouble

__all__ = ["Changes", "WriteBehind"]

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Changes(Generic[Row]):
    """
    What is to be written.

    Attributes:
        rows: as they shall stand, by shard.
        new: those of them that the store knows nothing of.
        removed: shards without a row.
    """

    rows: dict[int, Row]
    new: frozenset[int]
    removed: frozenset[int]


class WriteBehind(Generic[Row]):
    """
    The rows of one open store.

    Args:
        thread: the store's, which is not stopped here.
        write: writes changes, in the thread; what it raises puts them off to the next time. It may
            be given none, and may call `all_rows` and `renew`.
        trouble: is told what `write` raises, and that it works again.
    """

    def __init__(
        self, thread: JobThread, write: Callable[[Changes[Row]], object], trouble: Trouble
    ) -> None:
        self._thread = thread
        self._write = write
        self._trouble = trouble
        self._guard = threading.Lock()  # of what follows
        self._rows: dict[int, Row] = {}  # as they shall be stored
        self._noted: dict[int, bool] = {}  # what is not written; whether the store knows nothing
        self._in_hand: dict[int, bool] = {}  # the same, of what is being written
        self._is_posted = False

    @property
    def is_written(self) -> bool:
        """Whether the store has it all."""
        with self._guard:
            return not self._noted and not self._in_hand

    # --- on the loop -----------------------------------------------------------------------------

    def get(self, shard_id: int) -> Row | None:
        """Return the row of a shard, None when it has none."""
        return self._rows.get(shard_id)

    def keep(self, rows: Mapping[int, Row]) -> None:
        """Take rows as the store has them."""
        with self._guard:
            self._rows.update(rows)

    def put(self, rows: Mapping[int, Row], *, are_new: bool = False) -> None:
        """Let these be written soon, with all that could not be written before."""
        with self._guard:
            self._rows.update(rows)
            self._note(rows, are_new=are_new)

    def drop(self, shard_id: int) -> None:
        """Let the row of a shard, if it has one, be removed from the store."""
        with self._guard:
            if self._rows.pop(shard_id, None) is not None:
                self._note((shard_id,))

    def leave(self, shard_ids: Collection[int], *, keeps_rows: bool = False) -> None:
        """Write and remove nothing of these any more; from any thread."""
        with self._guard:
            for shard_id in shard_ids:
                self._noted.pop(shard_id, None)
                self._in_hand.pop(shard_id, None)
                if not keeps_rows:
                    self._rows.pop(shard_id, None)

    async def flush(self) -> None:
        """Wait until all of it was tried."""
        if not self.is_written:
            await self._thread.call(self.catch_up)

    # --- in the thread ---------------------------------------------------------------------------

    def attempt(self) -> None:
        """Try to write what is noted, which may be nothing; tell how that went."""
        with self._guard:
            self._in_hand, self._noted = self._noted, {}
            rows = {i: self._rows[i] for i in sorted(self._in_hand) if i in self._rows}
            changes = Changes(
                rows,
                frozenset(i for i in rows if self._in_hand[i]),
                frozenset(self._in_hand.keys() - rows.keys()),
            )
        try:
            self._write(changes)
        except Exception as error:
            with self._guard:
                for shard_id, is_new in self._in_hand.items():
                    self._noted[shard_id] = is_new or self._noted.get(shard_id, False)
                self._in_hand = {}
            self._trouble.failed(error)
        else:
            with self._guard:
                self._in_hand = {}
            self._trouble.ended()

    def catch_up(self) -> None:
        """Write if there is something: it was noted, or a write before this one took it."""
        with self._guard:
            self._is_posted = False
            if not self._noted:
                return
        self.attempt()

    def all_rows(self) -> dict[int, Row]:
        """Return what a store that has lost everything is to be given."""
        with self._guard:
            return self._rows.copy()

    def renew(self, shard_ids: Collection[int]) -> None:
        """The store knows nothing of these: let it have them whole, if there is something."""
        with self._guard:
            self._note([i for i in shard_ids if i in self._rows], are_new=True)

    # --- inside ----------------------------------------------------------------------------------

    def _note(self, shard_ids: Collection[int], *, are_new: bool = False) -> None:
        """Note these, and wake the thread if there is anything; under the guard."""
        for shard_id in shard_ids:
            self._noted[shard_id] = are_new or self._noted.get(shard_id, False)
        if self._noted and not self._is_posted:
            self._is_posted = True
            self._thread.post(self.catch_up, self._trouble.failed)
