"""Output that its writer never waits for: a thread of its own writes it."""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Aside", "AsideHandler", "Prints", "RawText"]

T = TypeVar("T")

# What is left at the end is written within so many seconds, or given up: nobody reads it.
LAST_S = 5.0
# Records of a log that wait for their reader: a burst of some shards', not an outage's.
MOST_RECORDS = 1_000
# Characters of a line that does not end; then they are shown as one.
MOST_OF_A_LINE = 1 << 16


class Aside(Generic[T]):
    """
    Show things in a thread, one after another, so that who has them to show goes on.

    A pipe whose reader has stopped and a terminal that hangs block who writes, for as long as it
    takes. Then the oldest things that wait give way to newer ones, and are counted.

    Args:
        show: called in the thread with a thing, and how many were lost before it, of all.
        most: how many may wait.
        end: called in the thread after the last one.
    """

    def __init__(
        self,
        show: Callable[[T, int], object],
        *,
        most: int,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self._show = show
        self._most = most
        self._end = end
        self._waiting: deque[T] = deque()
        self._lost = 0
        self._is_closed = False
        self._changed = threading.Condition()
        # A thread that is blocked must not keep the process: it is left behind.
        self._thread = threading.Thread(target=self._run, name="fastgw output", daemon=True)
        self._thread.start()

    def put(self, thing: T) -> None:
        """Have a thing shown, in time; after `close`, do nothing."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._waiting) == self._most:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(thing)
            self._changed.notify()

    def close(self, timeout_s: float = LAST_S) -> None:
        """Show what waits still, if that takes no longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if not self._waiting:
                    break
                thing, lost = self._waiting.popleft(), self._lost
            with contextlib.suppress(Exception):  # a terminal that is gone; nor ends this thread
                self._show(thing, lost)
        with contextlib.suppress(OSError):
            self._end()


class RawText:
    """
    Text into a descriptor, without a buffer.

    Those of `sys.stdout` and `sys.stderr` have locks. The interpreter takes them at its exit, and
    aborts if a thread that is blocked in a write holds one.

    Args:
        descriptor: which; stays the caller's.
        encoding: what it takes does not have to hold all characters: "?" stands for the others.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self.encoding = encoding

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self._descriptor)

    def flush(self) -> None:
        """Do nothing: what was written is written."""

    def write(self, text: str) -> int:
        """Write all of it; blocks as long as that takes."""
        rest = memoryview(text.encode(self.encoding, errors="replace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # noqa: PERF203 - made so by somebody who shares it
                select.select([], [self._descriptor], [])
        return len(text)


class Prints:
    """
    A terminal for other processes, of which each line is shown by a thread of ours.

    Args:
        show: called in the thread with each line.
    Attributes:
        descriptor: what they write to.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        import fcntl
        import termios

        self._show = show
        self._reader, self.descriptor = os.openpty()
        modes = termios.tcgetattr(self.descriptor)
        modes[1] &= ~termios.OPOST  # a line ends as it was written
        termios.tcsetattr(self.descriptor, termios.TCSANOW, modes)
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="fastgw prints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what was written, once those that wrote have ended, or for `LAST_S` at most."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self.descriptor)
            self._thread.join(LAST_S)

    def _run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while said := os.read(self._reader, 1 << 16):
                *lines, rest = (rest + decoder.decode(said)).split("\n")
                if len(rest) > MOST_OF_A_LINE:
                    lines, rest = [*lines, rest], ""
                for line in lines:
                    with contextlib.suppress(Exception):  # who prints must not be held up
                        self._show(line)
        with contextlib.suppress(OSError):
            if rest:
                self._show(rest)
        os.close(self._reader)


class AsideHandler(logging.Handler):
    """
    Write records in a thread; those that nobody reads are counted, and told of when somebody does.

    Args:
        write: writes a text of one or more lines; called in the thread.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._text = write
        self._lost = 0
        self._aside: Aside[str] = Aside(self._write, most=MOST_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written."""
        try:
            self._aside.put(self.format(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits still, if that takes no longer than `LAST_S`."""
        self._aside.close()
        super().close()

    def _write(self, text: str, lost: int) -> None:
        if lost > self._lost:
            message, facts = "%d records were not written: nobody read them", (lost - self._lost,)
            notice = logging.LogRecord("fastgw.run", logging.WARNING, "", 0, message, facts, None)
            self._lost = lost
            self._text(self.format(notice) + "\n")
        self._text(text + "\n")
