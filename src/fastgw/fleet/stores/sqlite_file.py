"""
One SQLite file that the processes of a machine share: opened, checked, and used in a thread.

What can be mended by nobody but the user (another program's database, a newer schema, a path that
cannot be written) is a UsageError when the file is opened. A file of ours that is damaged is set
aside, loudly, and a new one begun: it holds nothing that the service does not know as well.

WAL with `synchronous=NORMAL`: what was committed survives the death of any process at any instant.
After a power failure the last second may be missing, and the file is whole. On a network file
system WAL cannot work between machines, nor record locks be relied on; the old journal is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...errors import UsageError
from ...log import careful_logger
from .file_locks import ByteLocks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    T = TypeVar("T")

__all__ = [
    "HOLDERS_FROM",
    "SQLiteFile",
    "check_path",
    "immediate",
    "lock_path",
    "network_file_system",
    "open_database",
    "open_locks",
    "warn_of_network",
]

log = careful_logger("fastgw.store")

# "fgwS" in the header of the file (SQLite docs, "Database File Format", 1.3.18): it is ours.
APPLICATION_ID = 0x66677753
SCHEMA_VERSION = 1
BUSY_S = 5.0  # how long a transaction waits for that of another process
WAL_BYTES = 4 * 1024 * 1024  # what is kept of the log after a checkpoint
# Numbers of the lock file: shards below this, holders of identify turns from it on.
HOLDERS_FROM = 1 << 32
_MENDING = HOLDERS_FROM - 1  # held while a damaged file is set aside
# What may be over in a minute; everything else of the kind is for the user to mend.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE})

_making = threading.Lock()  # nobody locks a new file before who made it has closed it

SCHEMA = """
CREATE TABLE boot (one INTEGER PRIMARY KEY CHECK (one = 1), boot_id TEXT NOT NULL);
CREATE TABLE bot (one INTEGER PRIMARY KEY CHECK (one = 1), bot_id INTEGER NOT NULL);
CREATE TABLE owners (
    shard_id INTEGER PRIMARY KEY, shard_count INTEGER NOT NULL, process TEXT NOT NULL
);
CREATE TABLE sessions (
    shard_id INTEGER PRIMARY KEY, shard_count INTEGER NOT NULL, session_id TEXT NOT NULL,
    sequence INTEGER NOT NULL, resume_url TEXT NOT NULL, terms TEXT NOT NULL,
    boot_id TEXT NOT NULL, boot_s REAL NOT NULL, wall_s REAL NOT NULL
);
CREATE TABLE budget (
    one INTEGER PRIMARY KEY CHECK (one = 1), bot_id INTEGER, max_concurrency INTEGER NOT NULL,
    total INTEGER NOT NULL, remaining INTEGER NOT NULL,
    asked_at REAL NOT NULL, reset_at REAL NOT NULL, wall_s REAL NOT NULL
);
CREATE TABLE holders (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
CREATE TABLE identifies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, shard_id INTEGER NOT NULL, holder INTEGER,
    is_written INTEGER NOT NULL, at REAL NOT NULL, free_at REAL NOT NULL, wall_s REAL NOT NULL
);
CREATE INDEX identifies_at ON identifies (at);
CREATE INDEX identifies_held ON identifies (holder) WHERE holder IS NOT NULL;
"""

# Types of /proc/self/mountinfo that several machines may have mounted at once, or that pass locks
# and shared memory on to something that may not keep them.
_NETWORK = frozenset(
    {
        "nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph",
        "glusterfs", "lustre", "gfs2", "ocfs2", "gpfs", "beegfs", "fuse.sshfs", "fuse.glusterfs",
        "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.juicefs", "fuse.grpcfuse",
        "fakeowner", "vboxsf", "prl_fs", "davfs", "fuse",
    }
)  # fmt: skip


def check_path(path: object, what: str) -> Path:
    """Return the path of a file of ours; raise UsageError when that cannot be one."""
    try:
        import sqlite3  # noqa: F401
    except ImportError:
        raise UsageError(
            f"{what} needs sqlite3, and this Python was built without it: install its SQLite "
            f"headers and build it again, or take another Python"
        ) from None
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise UsageError(f"{what} needs the path of a file, not {path!r}")
    if os.fspath(path) == ":memory:":
        raise UsageError(f"{what} keeps what must outlive the process: it needs the path of a file")
    return Path(os.path.abspath(os.fsdecode(path)))


def lock_path(path: Path) -> Path:
    """Return the lock file beside a file; SQLite's own locks are on the file itself."""
    return path.with_name(path.name + "-locks")


def open_locks(path: Path) -> ByteLocks:
    """Open the lock file beside a file; raise UsageError when it cannot be written."""
    locks = lock_path(path)
    try:
        return ByteLocks(locks)
    except OSError as error:
        raise UsageError(
            f"{locks} cannot be written ({error.strerror}): choose a path in a directory that this "
            f"user may write"
        ) from error


def warn_of_network(path: Path) -> None:
    """Tell whoever has put a file of ours on a network file system."""
    if (kind := network_file_system(path)) is not None:
        log.warning(
            "%s is on a network file system (%s): its locks may not hold between machines, and "
            "WAL is off; put it on a disk of this machine",
            path, kind,
        )  # fmt: skip


def network_file_system(path: Path) -> str | None:
    """Return the type of the network file system that `path` is on, None when it is on none."""
    if _is_share(os.path.realpath(path.parent)):
        return "a network share"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = file.read()
    except OSError:
        return None  # not Linux: nobody tells
    kind = mounted_type(mounts, os.path.realpath(path.parent))
    return kind if kind in _NETWORK else None


def _is_share(directory: str) -> bool:
    r"""Tell a share of Windows, \\server\share, from a disk: C: or \\?\C:, and from POSIX paths."""
    if directory.startswith(("\\\\?\\", "\\\\.\\")):
        return directory[4:8].upper() == "UNC\\"
    return directory.startswith("\\\\")


def mounted_type(mounts: str, directory: str) -> str | None:
    """Return the file system's type of an absolute path, out of the text of mountinfo."""
    best, found = "", None
    for line in mounts.splitlines():
        mounted, _, rest = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) < 5 or not rest:
            continue
        point = fields[4].encode().decode("unicode_escape")  # a blank is written \040
        below = point if point.endswith("/") else point + "/"
        if f"{directory}/".startswith(below) and len(point) >= len(best):
            best, found = point, rest.split(" ")[0]
    return found


@contextlib.contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """Do what follows in one transaction that may write; take it back when it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def open_database(path: Path) -> sqlite3.Connection:
    """
    Open the file, and make it when it is not there; for use in one thread.

    Raises:
        UsageError: it is not ours, or from a newer fastgw, or cannot be opened for writing.
        sqlite3.Error: it is damaged, or the disk is full, or another process holds it too long.
    """
    import sqlite3

    try:
        _make_file(path)
    except OSError as error:
        if error.errno not in _PASSING:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}): choose a path in a directory that "
                f"exists and that this user may write"
            ) from error
        raise sqlite3.OperationalError(str(error)) from error
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path) -> None:
    """
    Make the file when it is not there, or raise OSError when it cannot be written.

    One that is there is not opened: a process that closes any descriptor of a file loses all its
    locks on it (fcntl(2)), those of SQLite in other threads with them.
    """
    with _making, contextlib.suppress(FileExistsError):
        # Session ids are nobody else's business; -wal and -shm get the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    import sqlite3

    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise UsageError(
                f"{path} is not a SQLite database: choose another path, or remove it if it was one"
            ) from error
        raise
    if application != APPLICATION_ID and (tables or application):
        raise UsageError(f"{path} is the database of another program: choose another path")
    if network_file_system(path) is None:
        _use_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    with immediate(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"{path} was written by a newer fastgw (schema {version}, this one knows "
                f"{SCHEMA_VERSION}): install that one again, or choose another path"
            )
        if version == 0:
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {said}")


def _use_wal(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        connection.execute("PRAGMA journal_mode=WAL")


def _is_damaged(error: BaseException) -> bool:
    return "malformed" in str(error)


def _set_aside(path: Path) -> None:
    """Give a damaged file another name, its log first: nothing may be applied to the new one."""
    locks = ByteLocks(lock_path(path))
    try:
        if not locks.take(_MENDING):
            return  # another process does it
        try:
            open_database(path).close()
        except Exception as error:
            if not _is_damaged(error):
                raise
        else:
            return  # another process has done it
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        log.error("%s is damaged; it is %s now, and a new one is begun", path, aside.name)
    finally:
        locks.close()


class SQLiteFile:
    """
    The file as one thread uses it; it is opened when it is first needed.

    One that went away or was replaced is opened anew before the next work, and one that is damaged
    is set aside.

    Args:
        path: of the file.
    Attributes:
        opened: how often the file was opened; what was written before may not be in it.
    """

    def __init__(self, path: Path) -> None:
        self.opened = 0
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Do `work` with the open file.

        Raises:
            UsageError, sqlite3.Error: see `open_database`; and what `work` raises.
        """
        import sqlite3

        connection = self._usable()
        try:
            return work(connection)
        except sqlite3.Error as error:
            if "locked" not in str(error) and "full" not in str(error):
                self.close()  # opened anew, and looked at, before the next work
            raise

    def _usable(self) -> sqlite3.Connection:
        import sqlite3

        if self._connection is not None and self._file == _identity(self._path):
            return self._connection
        self.close()
        try:
            connection = open_database(self._path)
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise
            try:
                _set_aside(self._path)
            except OSError as refusal:  # Windows renames no file that anybody has open
                raise sqlite3.OperationalError(str(refusal)) from error
            connection = open_database(self._path)
        self._connection, self._file = connection, _identity(self._path)
        self.opened += 1
        return connection

    def close(self) -> None:
        """Close it; the next work opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is gone in any case
                connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
