"""
The identify queue of all processes of a machine: turns and the day's budget in a SQLite file.

What happens in the file, and why it is safe when a process is killed, stands in `sqlite_turns`; who
waits, in `turn_lines`.
"""

from __future__ import annotations

import random as _random
from typing import TYPE_CHECKING

from ...protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S
from ..ports import Occupied
from ..stores.boot_clock import BootClock, check_clock
from ..stores.sqlite_file import check_path, warn_of_network
from .queue_options import check_rules
from .sqlite_turns import TurnTable
from .turn_lines import LastSeen, TurnLines

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ...health.figures import IdentifyBudget
    from ...shard.ports import IdentifyTurn
    from ..http.gateway_info import SessionStartLimit

__all__ = ["SQLiteIdentifyQueue"]


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
        self._rules = check_rules(max_concurrency, interval_s, padding_s, reserve, random)
        self._path = check_path(path, "SQLiteIdentifyQueue")
        self._clock = check_clock(clock)
        self._seen = LastSeen(max_concurrency or 1)
        self._lines = TurnLines(self._open_table, self._seen)

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
        Take the API's answer about the limit; see `IdentifyQueue.learn`. From any thread.

        Raises:
            UsageError: the file is another bot's, or cannot be used now.
        """
        import sqlite3

        at = self._clock.boot() - (self._clock.monotonic() - asked_at)
        try:
            with self._lines.at_desk() as table:
                await table.learn(limit, asked_at=at, is_fresh=is_fresh, bot_id=bot_id)
        except sqlite3.Error as error:
            raise Occupied(
                f"{self._path} cannot be used ({error}): another program holds it for long, or the "
                f"disk is full; mend that, or choose another path"
            ) from error

    def budget(self) -> IdentifyBudget | None:
        """Return what is left of the day, as last seen, or None; from any thread."""
        return self._seen.budget

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it. From any thread.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
            UsageError: the file cannot be used.
        """
        return await self._lines.acquire(shard_id)

    def _open_table(self, last: TurnTable | None) -> TurnTable:
        if last is None:
            warn_of_network(self._path)
        return TurnTable(self._path, self._rules, self._clock, self._seen, after=last)
