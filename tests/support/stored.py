"""What a session store's file holds: a process that is killed before knows nothing of a session."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def stored(path: Path) -> int:
    """Return how many sessions are in a file, which is written after READY, by a thread."""
    with (
        contextlib.suppress(sqlite3.OperationalError),  # it is not there, or just being made
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader,
    ):
        (count,) = reader.execute("SELECT COUNT(*) FROM sessions").fetchone()
        return count
    return 0
