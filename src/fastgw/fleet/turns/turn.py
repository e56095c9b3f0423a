"""One identify turn, as any of the queues gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Turn"]


class Turn:
    """
    A turn that was given: an `IdentifyTurn`.

    Args:
        written: is called when IDENTIFY is being written.
        released: is called when it is over, once, with whether it was written.
    """

    __slots__ = ("_is_released", "_is_written", "_released", "_written")

    def __init__(self, written: Callable[[], object], released: Callable[[bool], object]) -> None:
        self._written = written
        self._released = released
        self._is_released = self._is_written = False

    def written(self) -> None:
        """IDENTIFY is being written now; ignored once the turn is over."""
        if not self._is_released:
            self._is_written = True
            self._written()

    def release(self) -> None:
        """The turn is over; a second time is ignored."""
        if not self._is_released:
            self._is_released = True
            self._released(self._is_written)
