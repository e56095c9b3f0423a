"""
Values in errors and log lines, above all those of the other side: never longer than a line.

A message may have 64 MiB, and whatever of it is quoted would become as long a log line.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable

__all__ = ["MAX_QUOTED", "counted", "cut", "few", "quote", "ranges", "span", "without_credentials"]

# Characters of a value that a reader still takes in; a log line with two of them stays one line.
MAX_QUOTED = 200

# How many of many shards a line names.
_NAMED = 8

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_QUOTED
_REPR.maxlevel = 2


def quote(value: object) -> str:
    """Return the repr of a value in at most about `MAX_QUOTED` characters, its middle left out."""
    return cut(_REPR.repr(value))


def cut(text: str) -> str:
    """Return a text in at most `MAX_QUOTED` characters, and say how many there were."""
    if len(text) <= MAX_QUOTED:
        return text
    return f"{text[: MAX_QUOTED - 30]}... ({len(text)} characters)"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return "1 handler", "2,000 handlers"; `many` where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def few(numbers: Iterable[int]) -> str:
    """Write the first numbers, such as shard ids, as `0, 1, 2, ...`."""
    those = sorted(numbers)
    return ", ".join(map(str, those[:_NAMED])) + (", ..." if len(those) > _NAMED else "")


def span(seconds: float) -> str:
    """Return "12 s", or "less than a second": nobody is away for 0 s."""
    return f"{seconds:.0f} s" if seconds >= 1.0 else "less than a second"


def without_credentials(url: str) -> str:
    """Return a URL, or what was meant for one, without what may be a user name and password."""
    return re.sub(r"(?s)^([A-Za-z0-9+.-]*://)?.*@", r"\1", url)


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers, such as shard ids, as `0-7, 9`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
