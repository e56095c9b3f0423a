"""
The identify queue of all processes of a machine: turns and the day's budget in a SQLite file.

What happens in the file, and why it is safe when a process is killed, stands in `sqlite_turns`.
Here is who waits: the callers of one loop in line, one of each key asking the file again and again.
"""

from __future__ import annotations

import asyncio
import logging
import random as _random
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S
from .boot_clock import BootClock, check_clock
from .budget import check_reserve
from .ports import Occupied
from .queue_options import check_functions, check_queue_options
from .sqlite_file import check_path, network_file_system
from .sqlite_turns import Attempt, TurnRules, TurnTable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ..health.figures import IdentifyBudget
    from ..shard.ports import IdentifyTurn
    from .gateway_info import SessionStartLimit

__all__ = ["SQLiteIdentifyQueue"]

log = logging.getLogger("fastgw.identify")


class SQLiteIdentifyQueue:
    """
    The identify queue of all processes that name the same file: `Gateway(identify_queue=...)`.

    The file may be that of the session store. It is open only while turns are waited for or held.

    Args:
        path: of the file; its directory must be there.
        max_concurrency: how many keys there are; None for what the API says.
        interval_s: seconds between two identifies of one key, counted from the write.
        padding_s: (least, most) seconds drawn on top of it each time.
        reserve: nothing identifies when this many are left of the day's; None for 50, or 5 % where
            that is more.
        clock: the clocks of the machine; others are for tests.
        random: gives [0, 1).
    Raises:
        UsageError: the path is not one, a number that cannot be, or this Python has no sqlite3.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_concurrency: int | None = None,
        interval_s: float = IDENTIFY_INTERVAL_S,
        padding_s: tuple[float, float] = IDENTIFY_PAD_S,
        reserve: int | None = None,
        clock: BootClock | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        check_queue_options(max_concurrency, interval_s, padding_s)
        check_functions(random=random)
        self._path = check_path(path, "SQLiteIdentifyQueue")
        self._rules = TurnRules(
            max_concurrency, interval_s, padding_s, check_reserve(reserve),
            check_clock(clock), random,
        )  # fmt: skip
        self._max_concurrency = max_concurrency or 1  # as last seen in the file
        self._budget: IdentifyBudget | None = None
        self._table: TurnTable | None = None
        self._last: TurnTable | None = None  # that one, or the one before
        # First come, first served, for those of one loop; between processes chance decides.
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Lock]] = (
            WeakKeyDictionary()
        )
        self._is_told = False

    def __repr__(self) -> str:
        return f"SQLiteIdentifyQueue({str(self._path)!r})"

    async def learn(
        self,
        limit: SessionStartLimit,
        *,
        asked_at: float,
        is_fresh: bool,
        bot_id: int | None = None,
    ) -> None:
        """
        Take the API's answer about the limit; see `IdentifyQueue.learn`.

        Raises:
            UsageError: the file is another bot's, or cannot be used now.
        """
        import sqlite3

        table = self._begin()
        try:
            clock = self._rules.clock
            at = clock.boot() - (clock.monotonic() - asked_at)
            await table.learn(limit, asked_at=at, is_fresh=is_fresh, bot_id=bot_id)
            self._look(table)
        except sqlite3.Error as error:
            raise Occupied(
                f"{self._path} cannot be used ({error}): another program holds it for long, or the "
                f"disk is full; mend that, or choose another path"
            ) from error
        finally:
            self._end(table)

    def budget(self) -> IdentifyBudget | None:
        """Return what is left of the day, as last seen; None before anything was asked."""
        return self._budget

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
            UsageError: the file cannot be used.
        """
        loop = asyncio.get_running_loop()
        lines = self._lines.setdefault(loop, {})
        table = self._begin()
        attempt = Attempt(shard_id)
        try:
            async with lines.setdefault(shard_id % self._max_concurrency, asyncio.Lock()):
                while True:
                    try:
                        wait_s = await table.attempt(attempt)
                    finally:
                        self._look(table)
                    if attempt.number is not None:
                        return _Turn(self, table, attempt.number)
                    await asyncio.sleep(wait_s)
        except BaseException:
            # The thread may be about to give it; what comes after that takes it back.
            table.give_back(attempt)
            self._end(table)
            raise

    # --- inside ----------------------------------------------------------------------------------

    def _begin(self) -> TurnTable:
        if self._table is None:
            kind = None if self._is_told else network_file_system(self._path)
            self._is_told = True
            if kind is not None:
                log.warning(
                    "%s is on a network file system (%s): its locks may not hold between "
                    "machines; put it on a disk of this machine",
                    self._path, kind,
                )  # fmt: skip
            self._table = TurnTable(self._path, self._rules, after=self._last)
            self._last = self._table
        self._table.users += 1
        return self._table

    def _end(self, table: TurnTable) -> None:
        table.users -= 1
        if table.users == 0:
            self._table = None
            table.close()

    def _look(self, table: TurnTable) -> None:
        """Keep what the thread has seen in the file."""
        self._max_concurrency = table.max_concurrency
        if (budget := table.budget) is not None:
            free_at = budget.free_at
            if free_at is not None:
                free_at = self._rules.clock.as_monotonic(free_at)
            self._budget = replace(budget, free_at=free_at)


class _Turn:
    __slots__ = ("_is_released", "_number", "_queue", "_table")

    def __init__(self, queue: SQLiteIdentifyQueue, table: TurnTable, number: int) -> None:
        self._queue = queue
        self._table = table
        self._number = number
        self._is_released = False

    def written(self) -> None:
        if not self._is_released:
            self._table.written(self._number)

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._table.release(self._number)
            self._queue._end(self._table)
