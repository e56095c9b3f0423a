"""
Sessions in a SQLite file: they survive deploys and `kill -9`, for all processes of one machine.

Theory. What shall be stored is written behind (`write_behind`), all of it in one transaction. Who
runs a shard holds a lock that dies with the process: two programs never resume one session against
each other.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from ...errors import UsageError
from ...log import careful_logger
from ...protocol.session import Session
from ..ports import Occupied, StoredSession, at_sequence, check_acknowledge
from .boot_clock import BootClock, Stamp, age_s, check_clock
from .bot_binding import BotBinding
from .file_locks import ByteLocks
from .job_thread import JobThread
from .sqlite_file import (
    BUSY_S,
    SQLiteFile,
    check_path,
    immediate,
    open_locks,
    warn_of_network,
)
from .trouble import Trouble
from .write_behind import Changes, WriteBehind

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from ..ports import Acknowledge

    T = TypeVar("T")

__all__ = ["SQLiteSessionStore"]

log = careful_logger("fastgw.store")

_SAVE = (
    "INSERT OR REPLACE INTO sessions (shard_id, shard_count, session_id, sequence, resume_url,"
    " terms, boot_id, boot_s, wall_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_READ = (
    "SELECT shard_id, shard_count, session_id, sequence, resume_url, terms, boot_id, boot_s, wall_s"
    " FROM sessions"
)


class SQLiteSessionStore:
    """
    Keeps the sessions of one bot in a file, for the next process: `Gateway(store=...)`.

    Args:
        path: of the file; its directory must be there. "-wal", "-shm" and "-locks" stand beside it.
        acknowledge: "received" keeps the sequence of the last event that came; "handled" the one
            up to which every event is handled, so that after a crash the rest comes again.
        clock: the clocks of the machine; others are for tests.
    Raises:
        UsageError: it is not a path, another acknowledgement, or this Python has no sqlite3.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        acknowledge: Acknowledge = "received",
        clock: BootClock | None = None,
    ) -> None:
        self._path = check_path(path, "SQLiteSessionStore")
        self._acknowledge = check_acknowledge(acknowledge)
        self._clock = check_clock(clock)

    def __repr__(self) -> str:
        return f"SQLiteSessionStore({str(self._path)!r})"

    @property
    def is_durable(self) -> bool:
        """True: what is stored outlives the process."""
        return True

    @property
    def acknowledge(self) -> Acknowledge:
        """Which sequence is stored."""
        return self._acknowledge

    async def open(self, bot_id: int | None) -> OpenSQLiteStore:
        """
        Open the file, and make it when it is not there.

        Args:
            bot_id: the bot's user id, None when it is not known yet.
        Raises:
            UsageError: the file is another bot's or program's, or cannot be written.
        """
        opened = OpenSQLiteStore(self._path, self._clock)
        try:
            await opened.begin(bot_id)
        except BaseException:
            await opened.close()
            raise
        return opened


class OpenSQLiteStore:
    """The store as one fleet has it open. Call it in the thread of the loop that opened it."""

    def __init__(self, path: Path, clock: BootClock) -> None:
        self._path = path
        self._clock = clock
        self._thread = JobThread(path.name)
        self._file = SQLiteFile(path)
        self._is_closed = False
        self._locks: ByteLocks | None = None
        self._mine: set[int] = set()  # taken and not released
        self._bot = BotBinding(lambda bound, bot_id: _other_bot(path, bound, bot_id))
        self._trouble = Trouble(
            log,
            lambda error: (
                f"{path} cannot be used ({error}): sessions are kept in memory meanwhile, and a "
                f"restart now would begin new ones"
            ),
            f"{path} can be written again: sessions are stored",
        )
        self._rows = WriteBehind(self._thread, self._write, self._trouble)
        self._opened = 0  # the opening of the file that has all rows but the noted ones

    @property
    def is_durable(self) -> bool:
        """Whether what is saved now outlives the process: not while the file cannot be used."""
        return not self._trouble.is_on

    async def begin(self, bot_id: int | None) -> None:
        """Open the file; see `SQLiteSessionStore.open`."""
        import sqlite3

        warn_of_network(self._path)
        try:
            bound = await self._do(_read_bot)
        except sqlite3.Error as error:
            self._trouble.failed(error)
            return
        self._bot.opened(bound, bot_id)

    async def take(self, shard_ids: Collection[int], shard_count: int) -> dict[int, StoredSession]:
        """
        Become the only one who runs these shards; return what is stored of them.

        Raises:
            UsageError: somebody else runs one of them, or runs others with another shard count.
        """
        import sqlite3

        if self._is_closed:
            raise UsageError(f"{self._path} is closed")
        if self._locks is None:
            self._locks = open_locks(self._path)
        locks, taken = self._locks, list[int]()
        try:
            for shard_id in shard_ids:
                if not locks.take(shard_id):
                    raise Occupied(await self._taken(shard_id))
                taken.append(shard_id)
            try:
                found = await self._do(self._claim(taken, shard_count))
            except sqlite3.Error as error:
                self._trouble.failed(error)
                found = []
            if self._is_closed:
                raise UsageError(f"{self._path} was closed meanwhile")
        except BaseException:
            for shard_id in () if self._is_closed else taken:  # else close() gives all back
                locks.give_back(shard_id)
            raise
        self._mine.update(taken)
        now = self._clock.stamp()
        others = sorted({stored.session.shard_count for stored, _ in found} - {shard_count})
        if others:
            log.warning(
                "%s holds sessions of %s shards; there are %d now, and shards of another count "
                "begin new sessions",
                self._path, " and ".join(map(str, others)), shard_count,
            )  # fmt: skip
        usable = {
            stored.session.shard_id: (
                replace(stored, bot_id=self._bot.bot_id, age_s=age_s(stamp, now)),
                stamp,
            )
            for stored, stamp in found
            if stored.session.shard_count == shard_count
        }
        self._rows.keep(usable)
        return {shard_id: stored for shard_id, (stored, _) in usable.items()}

    def save(self, stored: StoredSession) -> None:
        """
        Store a new session of a shard that was taken; it is written at once, in the thread.

        Raises:
            UsageError: the store is another bot's; nothing of this one may be stored in it.
        """
        self._bot.ready(stored.bot_id)
        if stored.session.shard_id in self._mine:
            self._rows.put({stored.session.shard_id: (stored, self._clock.stamp())})

    def save_sequences(self, sequences: Mapping[int, int]) -> None:
        """
        Note that these sessions are alive, and how far they are; a lower sequence is not taken.

        Shards without a session are ignored. Call it once a second or so, also with nothing: what
        could not be written before is tried again.
        """
        now = self._clock.stamp()
        self._rows.put(
            {
                shard_id: (at_sequence(row[0], sequence), now)
                for shard_id, sequence in sequences.items()
                if (row := self._rows.get(shard_id)) is not None
            }
        )

    def forget(self, shard_id: int) -> None:
        """Remove a session that is over; while it may be another bot's, it stays in the file."""
        if self._bot.is_ours:
            self._rows.drop(shard_id)
        else:
            self._rows.leave((shard_id,))

    async def release(self, shard_ids: Collection[int]) -> None:
        """Write what is dirty, then let others run these shards."""
        await self._rows.flush()
        self._mine.difference_update(shard_ids)
        self._rows.leave(shard_ids)  # what could not be written of them is lost, and no more
        if self._locks is not None:
            for shard_id in shard_ids:
                self._locks.give_back(shard_id)

    async def close(self) -> None:
        """Write what is dirty, give all shards back and close the file."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._rows.flush()
        finally:
            self._thread.stop(self._file.close)
            self._thread.join(BUSY_S)  # a job that hangs in a system call is not waited for
            if self._locks is not None:
                self._locks.close()
                self._locks = None

    # --- inside ----------------------------------------------------------------------------------

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return self._thread.call(lambda: self._file.do(work))

    def _write(self, changes: Changes[tuple[StoredSession, Stamp]]) -> None:
        """Write what is to be written; in the thread."""
        self._file.do(lambda connection: self._write_to(connection, changes))
        self._opened = self._file.opened

    def _write_to(
        self, connection: sqlite3.Connection, changes: Changes[tuple[StoredSession, Stamp]]
    ) -> None:
        is_another = self._opened != self._file.opened  # it has none of the rows
        rows = self._rows.all_rows() if is_another else changes.rows
        with immediate(connection):
            self._bind(connection)
            connection.executemany(_SAVE, [_to_row(*row) for row in rows.values()])
            connection.executemany(
                "DELETE FROM sessions WHERE shard_id = ?", [(i,) for i in changes.removed]
            )

    def _bind(self, connection: sqlite3.Connection) -> None:
        if self._bot.bot_id is None:
            return
        bound = _read_bot(connection)
        if bound is None:
            connection.execute("INSERT INTO bot VALUES (1, ?)", (self._bot.bot_id,))
        self._bot.check(bound, self._bot.bot_id)

    def _claim(
        self, shard_ids: Collection[int], shard_count: int
    ) -> Callable[[sqlite3.Connection], list[tuple[StoredSession, Stamp]]]:
        locks = self._locks
        assert locks is not None
        ours = set(shard_ids)
        name = process_name()

        def claim(connection: sqlite3.Connection) -> list[tuple[StoredSession, Stamp]]:
            self._opened = self._file.opened
            with immediate(connection):
                others = connection.execute(
                    "SELECT shard_id, shard_count, process FROM owners WHERE shard_count != ?",
                    (shard_count,),
                ).fetchall()
                for shard_id, count, process in others:
                    if shard_id not in ours and locks.is_held(shard_id):
                        raise Occupied(
                            f"{process} runs shard {shard_id} of {count} from {self._path}, and "
                            f"here are {shard_count} shards: one bot has one shard count in a store"
                        )
                connection.executemany(
                    "INSERT OR REPLACE INTO owners VALUES (?, ?, ?)",
                    [(shard_id, shard_count, name) for shard_id in ours],
                )
                return [_from_row(row) for row in connection.execute(_READ) if row[0] in ours]

        return claim

    async def _taken(self, shard_id: int) -> str:
        """Say who runs a shard."""

        def owner(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT process FROM owners WHERE shard_id = ?", (shard_id,)
            ).fetchone()
            return None if row is None else str(row[0])

        name = None
        with contextlib.suppress(Exception):
            name = await self._do(owner)
        return (
            f"shard {shard_id} is run from {self._path} by {name or 'another process'} already: "
            f"stop that one, or give this one shards or a store of its own"
        )


def process_name() -> str:
    """Return how this process is called in messages to others."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _read_bot(connection: sqlite3.Connection) -> int | None:
    row = connection.execute("SELECT bot_id FROM bot").fetchone()
    return None if row is None else int(row[0])


def _other_bot(path: Path, bound: int, bot_id: int) -> str:
    return (
        f"{path} holds the sessions of bot {bound}, and this is bot {bot_id}: give each bot a "
        f"store of its own"
    )


def _to_row(stored: StoredSession, stamp: Stamp) -> tuple[object, ...]:
    session = stored.session
    return (
        session.shard_id, session.shard_count, session.session_id, session.sequence,
        session.resume_url, stored.terms, stamp.boot_id, stamp.boot_s, stamp.wall_s,
    )  # fmt: skip


def _from_row(
    row: tuple[int, int, str, int, str, str, str, float, float],
) -> tuple[StoredSession, Stamp]:
    shard_id, shard_count, session_id, sequence, resume_url, terms, boot_id, boot_s, wall_s = row
    session = Session(session_id, sequence, resume_url, shard_id, shard_count)
    return StoredSession(session=session, terms=terms), Stamp(boot_id, boot_s, wall_s)
