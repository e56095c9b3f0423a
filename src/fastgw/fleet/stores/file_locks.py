"""
Locks that die with their process: bytes of a file, one a lock.

The kernel gives them up when the holder ends, whatever ends it, so nothing has to be timed out and
nothing renewed. POSIX record locks belong to a process and vanish when it closes *any* descriptor
of the file; so one descriptor a file is kept for the whole process, and what this process holds
itself is written down beside it.

Network file systems do not keep them reliably; `sqlite_file.network_file_system` tells.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

__all__ = ["ByteLocks"]

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int, offset: int) -> bool:
        os.lseek(descriptor, offset, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _give(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(descriptor: int, offset: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            return False
        return True

    def _give(descriptor: int, offset: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)


class _Shared:
    """One lock file as this process has it open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.held: set[int] = set()
        self.users = 0
        self.is_inherited = False


_guard = threading.Lock()
_open: dict[str, _Shared] = {}


def _forked() -> None:
    """A forked child has the descriptors, and none of the locks."""
    for shared in _open.values():
        shared.is_inherited = True
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class ByteLocks:
    """
    Locks of one file, by number from 0 up. Any thread may use it.

    Args:
        path: the lock file; made when it is not there, never removed.
    Raises:
        OSError: it cannot be opened for writing.
    """

    def __init__(self, path: str | Path) -> None:
        self._key = os.path.realpath(path)
        self._mine: set[int] = set()
        with _guard:
            shared = _open.get(self._key)
            if shared is None:
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
                shared = _open[self._key] = _Shared(os.open(self._key, flags, 0o600))
            shared.users += 1
            self._shared: _Shared | None = shared

    def take(self, number: int) -> bool:
        """Take a lock; False when anybody has it, in this process too."""
        shared = self._used()
        with _guard:
            if number in shared.held or not _take(shared.descriptor, number):
                return False
            shared.held.add(number)
            self._mine.add(number)
            return True

    def give_back(self, number: int) -> None:
        """Give a lock back; without effect when it is not ours."""
        shared = self._used()
        with _guard:
            if number in self._mine:
                self._mine.discard(number)
                shared.held.discard(number)
                _give(shared.descriptor, number)

    def is_held(self, number: int) -> bool:
        """Tell whether anybody has it, in this process or another."""
        shared = self._used()
        with _guard:
            if number in shared.held:
                return True
            if not _take(shared.descriptor, number):
                return True
            _give(shared.descriptor, number)
            return False

    def close(self) -> None:
        """Give all of ours back. In a forked child nothing is: they are its parent's."""
        if self._shared is None:
            return
        if self._shared.is_inherited:
            # To close the descriptor would end locks that this process has of the same file.
            self._shared = None
            return
        for number in tuple(self._mine):
            self.give_back(number)
        with _guard:
            shared, self._shared = self._shared, None
            shared.users -= 1
            if shared.users == 0:
                del _open[self._key]
                os.close(shared.descriptor)

    def _used(self) -> _Shared:
        if self._shared is None:
            raise ValueError("these locks are closed")
        return self._shared
