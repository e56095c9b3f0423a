"""
The table of identify turns: what one process does with the file that all of them share.

Theory. Each identify is a row: allowed at `at`, its key free again at `free_at`, and held by
`holder` until it is released. A holder is a number whose lock dies with its process, so a row whose
holder has no lock was left by the dead. Whether its IDENTIFY was written nobody knows; it is taken
as written in the moment that is noticed, which is later than any write of the dead. Looking and
taking is one transaction, hence one process at a time.

Times are seconds since boot: no clock that is set, and no sleep of the machine, moves them. After a
boot rows are dated anew by wall time, which is all there is then, and what it cannot tell counts as
just now.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from ...errors import UsageError
from ..stores.file_locks import ByteLocks
from ..stores.job_thread import JobThread
from ..stores.sqlite_file import HOLDERS_FROM, SQLiteFile, immediate, open_locks
from .budget import DAY_S, Window, check_budget, judge, learn

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from ..http.gateway_info import SessionStartLimit
    from ..stores.boot_clock import BootClock
    from .queue_options import TurnRules
    from .turn_lines import Attempt, LastSeen

    T = TypeVar("T")

__all__ = ["TurnTable"]

log = logging.getLogger("fastgw.identify")

# A shard holds its turn until READY or a failure, by its own deadlines at most 220 s. A process
# that was stopped (a debugger, a frozen container) must not hold up the others for ever.
MAX_HOLD_S = 300.0
# Rows older than this have no say in when a key is free, whatever the interval of their process.
SPACING_S = 3_600.0


class TurnTable:
    """
    The file, open while somebody of this process waits or holds: the `Desk` of its lines.

    Args:
        path, rules, clock: as the queue was told.
        seen: is told what is seen in the file.
        after: the one before, which may still have to write down that its last turn is over.
    """

    def __init__(
        self,
        path: Path,
        rules: TurnRules,
        clock: BootClock,
        seen: LastSeen,
        *,
        after: TurnTable | None = None,
    ) -> None:
        self._path = path
        self._rules = rules
        self._clock = clock
        self._seen = seen
        before = None if after is None else after._thread
        self._thread: JobThread = JobThread(path.name, after=before)
        self._file = SQLiteFile(path)
        self._locks: ByteLocks | None = None
        self._holder = 0
        self._dated = 0  # the opening of the file whose times are known to be of this boot
        self._owed: list[Callable[[sqlite3.Connection], None]] = []

    # --- on the loop -----------------------------------------------------------------------------

    def learn(
        self, limit: SessionStartLimit, *, asked_at: float, is_fresh: bool, bot_id: int | None
    ) -> asyncio.Future[None]:
        """Take an answer of the API; asked_at is of the boot clock."""

        def work(connection: sqlite3.Connection) -> None:
            with immediate(connection):
                bound = connection.execute("SELECT bot_id FROM budget").fetchone()
                if bot_id is not None and bound is not None and bound[0] not in (None, bot_id):
                    raise UsageError(
                        f"{self._path} holds the identify turns of bot {bound[0]}, and this is bot "
                        f"{bot_id}: give each bot a file of its own"
                    )
                window = learn(
                    self._window(connection), _Log(connection), limit,
                    asked_at=asked_at, is_fresh=is_fresh,
                )  # fmt: skip
                connection.execute(
                    "INSERT OR REPLACE INTO budget (one, bot_id, max_concurrency, total, remaining,"
                    " asked_at, reset_at, wall_s) VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        bot_id if bot_id is not None or bound is None else bound[0],
                        limit.max_concurrency, window.total, window.remaining,
                        window.asked_at, window.reset_at, self._clock.wall(),
                    ),
                )  # fmt: skip
            self._look(connection)

        return self._call(work)

    def ask(self, attempt: Attempt) -> asyncio.Future[float | None]:
        """Give it a turn if there is one; see `Desk.ask`."""

        def work(connection: sqlite3.Connection) -> float | None:
            key = attempt.shard_id % self._keys(connection)
            wait_s = self._wait_s(connection, key)
            if wait_s is not None and wait_s > 0:
                return wait_s  # the usual end: nothing was written
            with immediate(connection):
                self._bury(connection, key)
                wait_s = self._wait_s(connection, key)
                if wait_s is None:
                    return self._rules.look_s
                if wait_s > 0:
                    return wait_s
                self._look(connection)
                self._check_budget()
                attempt.number = self._insert(connection, attempt.shard_id)
                self._look(connection)
            return None

        return self._call(work)

    def take_back(self, attempt: Attempt) -> None:
        """Nobody waits any more; should the thread have given a turn meanwhile, it goes back."""
        self._post(lambda connection: self._release(connection, attempt))

    def written(self, attempt: Attempt) -> None:
        """IDENTIFY is being written now."""
        now = self._clock.boot()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE identifies SET is_written = 1, at = ?, free_at = ?, wall_s = ?"
                " WHERE number = ?",
                (now, now + self._rules.spacing_s(), self._clock.wall(), attempt.number),
            )

        self._post(work)

    def released(self, attempt: Attempt, *, is_written: bool) -> None:
        """The turn is over; the file knows whether it was written."""
        self._post(lambda connection: self._release(connection, attempt))

    def close(self) -> None:
        """End it after what was asked for; from then on nobody here holds anything."""
        self._thread.stop(self._end)

    # --- in the thread ---------------------------------------------------------------------------

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return self._thread.call(lambda: self._do(work))

    def _post(self, work: Callable[[sqlite3.Connection], None]) -> None:
        def failed(error: Exception) -> None:
            log.warning("%s could not be written (%s)", self._path, error)
            self._owed.append(work)

        self._thread.post(lambda: self._do(work), failed)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._file.do(lambda connection: work(self._ready(connection)))

    def _ready(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Become a holder, see that times are of this boot, do what could not be done before."""
        if self._locks is None:
            self._become_holder(connection)
        if self._dated != self._file.opened:
            with immediate(connection):
                self._date(connection)
            self._dated = self._file.opened
        while self._owed:
            self._owed[0](connection)
            del self._owed[0]
        return connection

    def _become_holder(self, connection: sqlite3.Connection) -> None:
        locks = open_locks(self._path)
        try:
            with immediate(connection):
                (number,) = connection.execute(
                    "SELECT coalesce(max(last), 0) FROM holders"
                ).fetchone()
                number += 1
                while not locks.take(HOLDERS_FROM + number):
                    number += 1  # the file was replaced, and its counter with it
                connection.execute("INSERT OR REPLACE INTO holders VALUES (1, ?)", (number,))
        except BaseException:
            locks.close()
            raise
        self._locks, self._holder = locks, number

    def _end(self) -> None:
        self._file.close()
        if self._locks is not None:
            self._locks.close()

    def _date(self, connection: sqlite3.Connection) -> None:
        """Date the rows of an earlier boot anew; see the theory."""
        clock = self._clock
        now, wall = clock.boot(), clock.wall()
        (newest,) = connection.execute("SELECT max(at) FROM identifies").fetchone()
        row = connection.execute("SELECT boot_id FROM boot").fetchone()
        is_of_this_boot = row is not None and row[0] == clock.boot_id
        # Where boots have no names: a time still to come is of another one.
        if is_of_this_boot and (newest is None or newest <= now + 1.0):
            return
        connection.execute("INSERT OR REPLACE INTO boot VALUES (1, ?)", (clock.boot_id,))
        connection.execute(
            "UPDATE identifies SET holder = NULL, is_written = 1,"
            " at = ?1 - max(0.0, ?2 - wall_s),"
            " free_at = ?1 - max(0.0, ?2 - wall_s) + max(0.0, free_at - at)",
            (now, wall),
        )
        connection.execute(
            "UPDATE budget SET asked_at = ?1 - max(0.0, ?2 - wall_s),"
            " reset_at = ?1 - max(0.0, ?2 - wall_s) + (reset_at - asked_at), wall_s = ?2",
            (now, wall),
        )

    def _keys(self, connection: sqlite3.Connection) -> int:
        """Return how many keys there are: what we were told, else what the API said, else one."""
        if self._rules.max_concurrency is None:
            row = connection.execute("SELECT max_concurrency FROM budget").fetchone()
            self._seen.max_concurrency = 1 if row is None else max(1, row[0])
        return self._seen.max_concurrency

    def _held(self, connection: sqlite3.Connection, key: int) -> list[tuple[int, int, float]]:
        return connection.execute(
            "SELECT number, holder, at FROM identifies WHERE holder IS NOT NULL"
            " AND shard_id % ? = ?",
            (self._seen.max_concurrency, key),
        ).fetchall()

    def _is_dead(self, holder: int, since: float) -> bool:
        assert self._locks is not None
        if self._clock.boot() - since > MAX_HOLD_S:
            return True
        return holder != self._holder and not self._locks.is_held(HOLDERS_FROM + holder)

    def _wait_s(self, connection: sqlite3.Connection, key: int) -> float | None:
        """Return the seconds until the key is free, 0.0 when it is; None: the dead hold it."""
        wait_s = 0.0
        for _, holder, at in self._held(connection, key):
            if self._is_dead(holder, at):
                return None
            wait_s = self._rules.look_s
        now = self._clock.boot()
        (free_at,) = connection.execute(
            "SELECT max(free_at) FROM identifies WHERE is_written = 1 AND at > ?"
            " AND shard_id % ? = ?",
            (now - SPACING_S, self._seen.max_concurrency, key),
        ).fetchone()
        return wait_s if free_at is None else max(wait_s, free_at - now)

    def _bury(self, connection: sqlite3.Connection, key: int) -> None:
        """Release what the dead hold, as if they had written in this moment."""
        for number, holder, at in self._held(connection, key):
            if self._is_dead(holder, at):
                now = self._clock.boot()
                connection.execute(
                    "UPDATE identifies SET holder = NULL, is_written = 1, at = ?, free_at = ?,"
                    " wall_s = ? WHERE number = ?",
                    (now, now + self._rules.spacing_s(), self._clock.wall(), number),
                )

    def _insert(self, connection: sqlite3.Connection, shard_id: int) -> int:
        now = self._clock.boot()
        connection.execute("DELETE FROM identifies WHERE at < ? AND holder IS NULL", (now - DAY_S,))
        number = connection.execute(
            "INSERT INTO identifies (shard_id, holder, is_written, at, free_at, wall_s)"
            " VALUES (?, ?, 0, ?, ?, ?)",
            (shard_id, self._holder, now, now + self._rules.spacing_s(), self._clock.wall()),
        ).lastrowid
        assert number is not None
        return number

    def _release(self, connection: sqlite3.Connection, attempt: Attempt) -> None:
        if attempt.number is None:
            return
        with immediate(connection):
            connection.execute(
                "DELETE FROM identifies WHERE number = ? AND holder = ? AND is_written = 0",
                (attempt.number, self._holder),
            )
            connection.execute(
                "UPDATE identifies SET holder = NULL WHERE number = ? AND holder = ?",
                (attempt.number, self._holder),
            )

    def _window(self, connection: sqlite3.Connection) -> Window | None:
        row = connection.execute(
            "SELECT total, remaining, asked_at, reset_at FROM budget"
        ).fetchone()
        return None if row is None else Window(*row)

    def _look(self, connection: sqlite3.Connection) -> None:
        budget = judge(
            self._window(connection), _Log(connection), self._clock.boot(),
            reserve=self._rules.reserve,
        )  # fmt: skip
        there, seen_at = self._clock.as_monotonic, self._clock.monotonic()
        free_at = None if budget.free_at is None else there(budget.free_at)
        self._seen.budget = replace(budget, free_at=free_at, seen_at=seen_at)

    def _check_budget(self) -> None:
        budget = self._seen.budget
        assert budget is not None
        check_budget(budget, now=self._clock.monotonic(), wall=self._clock.wall())


class _Log:
    """The identifies of all processes, for the sum of the budget."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def count_since(self, at: float) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM identifies WHERE at >= ?", (at,)
        ).fetchone()
        return int(count)

    def first_since(self, at: float) -> float | None:
        (first,) = self._connection.execute(
            "SELECT min(at) FROM identifies WHERE at >= ?", (at,)
        ).fetchone()
        return None if first is None else float(first)
