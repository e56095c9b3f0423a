"""The SQLite file that processes share: where it lies, how it is opened, and transactions in it."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from fastgw import UsageError
from fastgw.fleet.stores import sqlite_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.sqlite"


def test_a_transaction_is_taken_back_when_it_raises(path):
    """And the next one may begin."""
    with closing(sqlite_file.open_database(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError), sqlite_file.immediate(connection):
            connection.executemany("INSERT INTO bot VALUES (1, ?)", [(5,), (6,)])
        with sqlite_file.immediate(connection):
            assert connection.execute("SELECT * FROM bot").fetchall() == []
        assert not connection.in_transaction


def test_a_file_is_opened_anew_where_that_may_help(path):
    """After an error that is not about others or room; and when another file is there."""
    file = sqlite_file.SQLiteFile(path)

    def fail(text):
        def work(connection):
            raise sqlite3.OperationalError(text)

        return work

    first = file.do(lambda connection: connection)
    for text in ("database is locked", "database or disk is full"):
        with pytest.raises(sqlite3.OperationalError, match=text):
            file.do(fail(text))
    assert file.do(lambda connection: connection) is first
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        file.do(fail("disk I/O error"))
    second = file.do(lambda connection: connection)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert file.do(lambda connection: connection) is not second
    for closed in (first, second):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            closed.execute("SELECT 1")
    assert file.opened == 3
    file.close()


def test_a_file_that_cannot_be_used_is_not_kept_open(path, monkeypatch):
    """Whoever keeps the error would keep it."""
    made, connect = [], sqlite3.connect

    def note(*arguments, **options):
        made.append(connect(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    path.write_text("intents = 513\n" * 100)
    with pytest.raises(UsageError, match="is not a SQLite database"):
        sqlite_file.open_database(path)
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert len(made) == 1


def test_a_disk_that_is_full_may_be_less_so_in_a_minute(path, monkeypatch):
    """It is an error as any other of the file, and none of the user's."""

    def fail(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sqlite_file, "_make_file", fail)
    with pytest.raises(sqlite3.OperationalError, match="No space left"):
        sqlite_file.open_database(path)


class Opening:
    """Opens a file like this: one error after the other."""

    def __init__(self, *texts):
        self.left = list(texts)

    def __call__(self, path):
        raise sqlite3.DatabaseError(self.left.pop(0))


def test_a_file_that_another_holds_is_not_tried_twice(path, monkeypatch):
    """Each try waits for seconds; and it is nothing to set aside."""
    opening = Opening("database is locked", "and again")
    monkeypatch.setattr(sqlite_file, "open_database", opening)
    with pytest.raises(sqlite3.DatabaseError, match="database is locked"):
        sqlite_file.SQLiteFile(path).do(lambda connection: None)
    assert opening.left == ["and again"]


def test_a_damaged_file_that_another_holds_is_not_set_aside(path, monkeypatch):
    """It may be mended by now: nobody can look."""
    path.touch()
    opening = Opening("database disk image is malformed", "database is locked")
    monkeypatch.setattr(sqlite_file, "open_database", opening)
    with pytest.raises(sqlite3.DatabaseError, match="database is locked"):
        sqlite_file.SQLiteFile(path).do(lambda connection: None)
    assert [file.name for file in path.parent.glob("*.damaged*")] == []


def test_a_file_that_may_not_be_written_is_refused(path, monkeypatch):
    """Though it may be read."""
    sqlite_file.open_database(path).close()
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(UsageError, match=r"cannot be written .*: choose a path"):
        sqlite_file.open_database(path)


def test_opening_a_file_leaves_the_locks_of_other_threads(path, monkeypatch):
    """POSIX drops a process's locks on a file when it closes any descriptor of it."""
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.01)
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute(f"PRAGMA application_id={sqlite_file.APPLICATION_ID}")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_file.open_database(path)
        other = subprocess.run([sys.executable, "-c", look, path], capture_output=True, text=True)
    assert "database is locked" in other.stderr


MOUNTS = """\
22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a
40 22 0:40 / /five - nfs4 server:/x rw
41 22 0:41 / /over rw - nfs4 server:/y rw
42 22 0:42 / /over rw - ext4 /dev/sdc1 rw
too few - nfs4
30 22 0:31 / /srv rw shared:2 - nfs4 server:/export rw,vers=4.2
31 22 0:32 / /srv/my\\040data rw - ext4 /dev/sdb1 rw
32 22 0:33 / /srvx rw - cifs //server/x rw
garbage
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib", "overlay"), ("/srv", "nfs4"), ("/srv/bot", "nfs4"),
        ("/srv/my data/bot", "ext4"), ("/srvx/y", "cifs"), ("/srvy", "overlay"),
        ("/five", "nfs4"), ("/over", "ext4"),
    ],
)  # fmt: skip
def test_the_file_system_of_a_path(directory, kind):
    """The longest mount point counts, and blanks are written as `\\040`."""
    assert sqlite_file.mounted_type(MOUNTS, directory) == kind


@pytest.mark.parametrize(
    ("name", "value"),
    [("journal_mode", "wal"), ("synchronous", 1), ("journal_size_limit", sqlite_file.WAL_BYTES)],
)
def test_how_it_is_written(path, name, value):
    """Safe against the death of any process; after a power failure the last second may miss."""
    with closing(sqlite_file.open_database(path)) as connection:
        assert connection.execute(f"PRAGMA {name}").fetchone() == (value,)


def test_a_python_without_sqlite_is_told(path, monkeypatch):
    """Some are built so; what to do is said where a file is named."""
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(UsageError, match="Store needs sqlite3, and this Python was built without"):
        sqlite_file.check_path(path, "Store")


@pytest.mark.parametrize(
    ("directory", "is_share"),
    [
        (r"\\server\share", True), (r"\\?\UNC\server\share", True),
        (r"\\.\unc\server\share", True), (r"\\?\C:\bot", False), (r"\\.\C:\bot", False),
        (r"C:\bot", False), ("/srv", False), (r"\bot", False),
    ],
)  # fmt: skip
def test_a_share_of_windows_is_told_from_a_disk(directory, is_share):
    """By how its path begins."""
    assert sqlite_file._is_share(directory) == is_share


def test_a_file_on_a_share_is_on_the_network(monkeypatch, path):
    """Whatever its server calls itself."""
    assert sqlite_file.network_file_system(path) is None
    monkeypatch.setattr(sqlite_file, "_is_share", lambda directory: True)
    assert sqlite_file.network_file_system(path) == "a network share"


def test_locks_that_cannot_be_written_are_told(path):
    """With what to do."""
    with pytest.raises(UsageError, match=r"x-locks cannot be written .*: choose a path"):
        sqlite_file.open_locks(path.parent / "missing" / "x")
