"""Something that goes on failing: told once, and once that it works again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["Trouble"]


class Trouble:
    """
    Whether something fails now; who uses it tells after each attempt, from one thread at a time.

    Args:
        log: where it is told: at ERROR that it fails, at WARNING that this is over.
        failing: the text, given the first error.
        again: the text once it works again.
    Attributes:
        is_on: whether the last attempt failed.
    """

    def __init__(
        self, log: logging.Logger, failing: Callable[[Exception], str], again: str
    ) -> None:
        self.is_on = False
        self._log = log
        self._failing = failing
        self._again = again

    def failed(self, error: Exception) -> None:
        """An attempt failed."""
        if not self.is_on:
            self.is_on = True
            self._log.error("%s", self._failing(error))

    def ended(self) -> None:
        """An attempt did not fail."""
        if self.is_on:
            self.is_on = False
            self._log.warning("%s", self._again)
