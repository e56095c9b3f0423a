"""What the terminal can do, and one way to show that something takes its time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from typing import IO

__all__ = [
    "Waiting",
    "columns",
    "drawn",
    "drawn_until_interrupted",
    "fit",
    "is_live",
    "is_rich",
    "printable",
    "rows",
]

# Nothing is shown of what takes less: it would only flicker.
PATIENCE_S = 1.0
# How often a line is drawn anew, and how often one is written where nothing can be drawn.
DRAW_S = 0.1
WRITE_S = 10.0
BAR = 24


def is_live(stream: IO[str]) -> bool:
    """Tell whether lines of this stream can be drawn anew: a terminal, and no dumb one."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def is_rich() -> bool:
    """Tell whether rich is there, which the extra `cli` brings."""
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def columns() -> int:
    """Return how wide text may be: that of the terminal, 80 without one."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def rows() -> int:
    """Return how many lines a view may have, so that the cursor has one of its own below them."""
    return max(1, shutil.get_terminal_size((80, 24)).lines - 1)


def drawn(lines: Sequence[str]) -> str:
    """Return what draws these lines alone on the screen, the cursor below them."""
    return "\x1b[H\x1b[2J" + "".join(f"{line}\n" for line in lines[: rows()])


@contextlib.contextmanager
def drawn_until_interrupted(stream: IO[str]) -> Iterator[None]:
    """Take the ^C that a terminal shows away again, for the shell's prompt comes in its place."""
    try:
        yield
    except KeyboardInterrupt:
        if is_live(stream):
            with contextlib.suppress(OSError):
                stream.write("\r\x1b[K")
                stream.flush()
        raise


class Waiting(contextlib.AbstractContextManager["Waiting"]):
    """
    One line on standard error about what is being done; gone when it is done.

    With a terminal it is drawn in place, as a bar when it is known how much there is to do; without
    one a line is written every ten seconds, for the log. What is quick is not shown at all.

    Args:
        text: what is done.
        total: how much there is to do; None when nobody knows.
        is_quiet: show nothing.
    """

    def __init__(self, text: str, total: float | None = None, *, is_quiet: bool = False) -> None:
        self.text = text
        self.total = total
        self._began = self._shown_at = time.monotonic()
        self._is_quiet = is_quiet
        self._is_drawn = False

    def show(self, done: float = 0.0, text: str | None = None) -> None:
        """Say how far it is; may be called as often as you like."""
        now = time.monotonic()
        self.text = self.text if text is None else text
        is_live = is_live_error()
        every_s = DRAW_S if is_live and self._is_drawn else PATIENCE_S if is_live else WRITE_S
        if self._is_quiet or now - self._shown_at < every_s:
            return
        self._shown_at = now
        line = self._line(done)[: columns() - 1]
        with contextlib.suppress(OSError):
            if is_live:
                sys.stderr.write("\r\x1b[K" + line)
                self._is_drawn = True
            else:
                sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be written."""
        if self._is_drawn:
            self._is_drawn = False
            with contextlib.suppress(OSError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def __exit__(self, *exc_info: object) -> None:
        self.clear()

    def _line(self, done: float) -> str:
        if not self.total:
            return f"{self.text} ({time.monotonic() - self._began:.0f} s)"
        share = min(1.0, done / self.total)
        filled = round(share * BAR)
        return f"[{'#' * filled}{'.' * (BAR - filled)}] {share:4.0%}  {self.text}"


def is_live_error() -> bool:
    """Tell whether standard error can be drawn on."""
    return is_live(sys.stderr)


def printable(text: str) -> str:
    """Return text of strangers without what would move the cursor or colour the screen."""
    return "".join(character if character.isprintable() else " " for character in text)


def fit(text: str, width: int) -> str:
    """Cut text to so many columns; characters of East Asia and emoji take two (UAX #11)."""
    taken = 0
    for index, character in enumerate(text):
        if unicodedata.combining(character) or character in "\u200d\ufe0f":
            continue
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > width:
            return text[:index]
    return text
