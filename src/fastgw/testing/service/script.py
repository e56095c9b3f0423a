"""`Script`: the next n times do this, then that, then what is ordinary."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ...errors import UsageError

__all__ = ["Script"]

T = TypeVar("T")


class Script(Generic[T]):
    """What a test wants done instead of the ordinary thing; several instructions queue up."""

    def __init__(self) -> None:
        self._next: deque[tuple[T, int | None]] = deque()

    def __len__(self) -> int:
        """How many instructions are left, each counted once."""
        return len(self._next)

    def add(self, deed: T, times: int | None) -> None:
        """
        Do this the next `times` times, behind what is queued already; None: for ever.

        Raises:
            UsageError: times is less than 1.
        """
        if times is not None and times < 1:
            raise UsageError(f"times={times}: an instruction holds at least once; None is for ever")
        self._next.append((deed, times))

    def take(self) -> T | None:
        """Return what to do now, and count it; None: the ordinary thing."""
        if not self._next:
            return None
        deed, times = self._next[0]
        if times == 1:
            self._next.popleft()
        elif times is not None:
            self._next[0] = (deed, times - 1)
        return deed

    def clear(self) -> None:
        """Go back to what is ordinary."""
        self._next.clear()
