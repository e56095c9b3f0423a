"""
Sessions in a SQLite file: they survive deploys and `kill -9`, for all processes of one machine.

Theory. The event loop only writes down what shall be stored (`_dirty`) and wakes the thread, which
takes all of it in one transaction. What could not be written stays dirty, so a full disk costs
nothing but the time until there is room again. Who runs a shard holds a lock that dies with the
process: two programs never resume one session against each other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..log import careful_logger
from ..protocol.session import Session
from .boot_clock import BootClock, Stamp, age_s, check_clock
from .file_locks import ByteLocks
from .job_thread import JobThread
from .ports import Occupied, StoredSession
from .sqlite_file import (
    BUSY_S,
    SQLiteFile,
    check_path,
    immediate,
    lock_path,
    network_file_system,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from .ports import Acknowledge

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
        if acknowledge not in ("received", "handled"):
            raise UsageError(f"acknowledge={acknowledge!r} is not 'received' or 'handled'")
        self._acknowledge: Acknowledge = acknowledge
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
        self._bot_id: int | None = None  # once it is sure
        self._is_ours = False  # the token or READY says that what is stored is this bot's
        self._rows: dict[int, tuple[StoredSession, Stamp]] = {}  # as they shall be in the file
        self._is_failing = False
        self._guard = threading.Lock()  # of what follows, which the thread takes
        self._dirty: set[int] = set()
        self._is_posted = False
        self._opened = 0  # the opening of the file that has all rows but the dirty ones

    @property
    def is_durable(self) -> bool:
        """Whether what is saved now outlives the process: not while the file cannot be used."""
        return not self._is_failing

    async def begin(self, bot_id: int | None) -> None:
        """Open the file; see `SQLiteSessionStore.open`."""
        import sqlite3

        if (kind := network_file_system(self._path)) is not None:
            log.warning(
                "%s is on a network file system (%s): its locks may not hold between machines, and "
                "WAL is off; put it on a disk of this machine",
                self._path,
                kind,
            )
        try:
            bound = await self._thread.call(lambda: self._file.do(_read_bot))
        except sqlite3.Error as error:
            self._failed(error)
            return
        if bound is not None and bot_id is not None and bound != bot_id:
            raise UsageError(_other_bot(self._path, bound, bot_id))
        self._bot_id = bound
        self._is_ours = bound is None or bot_id is not None

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
            try:
                self._locks = ByteLocks(lock_path(self._path))
            except OSError as error:
                raise UsageError(
                    f"{lock_path(self._path)} cannot be written ({error.strerror}): choose a path "
                    f"in a directory that this user may write"
                ) from error
        taken: list[int] = []
        try:
            for shard_id in shard_ids:
                if not self._locks.take(shard_id):
                    raise Occupied(await self._taken(shard_id))
                taken.append(shard_id)
            try:
                found = await self._thread.call(
                    lambda: self._file.do(self._claim(taken, shard_count))
                )
            except sqlite3.Error as error:
                self._failed(error)
                found = []
        except BaseException:
            for shard_id in taken:
                self._locks.give_back(shard_id)
            raise
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
                replace(stored, bot_id=self._bot_id, age_s=age_s(stamp, now)),
                stamp,
            )
            for stored, stamp in found
            if stored.session.shard_count == shard_count
        }
        self._rows.update(usable)
        return {shard_id: stored for shard_id, (stored, _) in usable.items()}

    def save(self, stored: StoredSession) -> None:
        """
        Store a new session of a shard that was taken; it is written at once, in the thread.

        Raises:
            UsageError: the store is another bot's; nothing of this one may be stored in it.
        """
        if stored.bot_id is not None:
            if self._bot_id is not None and stored.bot_id != self._bot_id:
                raise UsageError(_other_bot(self._path, self._bot_id, stored.bot_id))
            self._bot_id = stored.bot_id
            self._is_ours = True
        self._rows[stored.session.shard_id] = (stored, self._clock.stamp())
        self._write_soon({stored.session.shard_id})

    def save_sequences(self, sequences: Mapping[int, int]) -> None:
        """
        Note that these sessions are alive, and how far they are; a lower sequence is not taken.

        Shards without a session are ignored. Call it once a second or so, also with nothing: what
        could not be written before is tried again.
        """
        now = self._clock.stamp()
        alive = sequences.keys() & self._rows.keys()
        for shard_id in alive:
            stored, _ = self._rows[shard_id]
            session = stored.session
            if sequences[shard_id] > session.sequence:
                session = replace(session, sequence=sequences[shard_id])
                stored = replace(stored, session=session)
            self._rows[shard_id] = (stored, now)
        self._write_soon(alive)

    def forget(self, shard_id: int) -> None:
        """Remove a session that is over; while it may be another bot's, it stays in the file."""
        if self._rows.pop(shard_id, None) is not None and self._is_ours:
            self._write_soon({shard_id})

    async def release(self, shard_ids: Collection[int]) -> None:
        """Write what is dirty, then let others run these shards."""
        await self._flush()
        for shard_id in shard_ids:
            self._rows.pop(shard_id, None)
            if self._locks is not None:
                self._locks.give_back(shard_id)

    async def close(self) -> None:
        """Write what is dirty, give all shards back and close the file."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._flush()
        finally:
            self._thread.stop(self._file.close)
            self._thread.join(BUSY_S)  # a job that hangs in a system call is not waited for
            if self._locks is not None:
                self._locks.close()
                self._locks = None

    # --- inside ----------------------------------------------------------------------------------

    def _write_soon(self, shard_ids: Collection[int]) -> None:
        with self._guard:
            self._dirty.update(shard_ids)
            if self._is_posted or not self._dirty:
                return
            self._is_posted = True
        self._thread.post(lambda: self._file.do(self._write), self._failed)

    async def _flush(self) -> None:
        with self._guard:
            if not self._dirty:
                return
        with contextlib.suppress(Exception):  # told already
            await self._thread.call(lambda: self._file.do(self._write))

    def _write(self, connection: sqlite3.Connection) -> None:
        """Write what is dirty; in the thread."""
        with self._guard:
            self._is_posted = False
            dirty, self._dirty = self._dirty, set()
        rows = self._rows.copy()  # after it: the loop writes the row first, then that it is dirty
        if self._opened != self._file.opened:
            dirty |= rows.keys()  # another file, which has none of them
        kept = [_to_row(*rows[shard_id]) for shard_id in dirty if shard_id in rows]
        removed = [(shard_id,) for shard_id in dirty if shard_id not in rows]
        try:
            with immediate(connection):
                self._bind(connection)
                connection.executemany(_SAVE, kept)
                connection.executemany("DELETE FROM sessions WHERE shard_id = ?", removed)
        except BaseException:
            with self._guard:
                self._dirty |= dirty
            raise
        self._opened = self._file.opened
        if self._is_failing:
            self._is_failing = False
            log.warning("%s can be written again: sessions are stored", self._path)

    def _bind(self, connection: sqlite3.Connection) -> None:
        if self._bot_id is None:
            return
        bound = _read_bot(connection)
        if bound is None:
            connection.execute("INSERT INTO bot VALUES (1, ?)", (self._bot_id,))
        elif bound != self._bot_id:
            raise UsageError(_other_bot(self._path, bound, self._bot_id))

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
            name = await self._thread.call(lambda: self._file.do(owner))
        return (
            f"shard {shard_id} is run from {self._path} by {name or 'another process'} already: "
            f"stop that one, or give this one shards or a store of its own"
        )

    def _failed(self, error: Exception) -> None:
        """Tell once that the file cannot be used; may be called in the thread."""
        if not self._is_failing:
            self._is_failing = True
            log.error(
                "%s cannot be used (%s): sessions are kept in memory meanwhile, and a restart now "
                "would begin new ones",
                self._path, error,
            )  # fmt: skip


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
