"""
Where a gateway lives: one event loop, in one thread.

Nothing of it may be touched from elsewhere: two threads in one deque, or a future that another loop
waits for, do damage that shows much later. So whoever may be called asks here first, and what may
be called from any thread says so in its docstring; docs/reference/gateway.md lists it.

Such a method changes nothing. What the loop's thread may be changing meanwhile it reads in one of
two ways: a reference to what is replaced whole and never changed (`Roster.shards`), or a copy made
in one step (`x.copy()`, `dict(x)`, `tuple(x)`), before it walks over anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Home"]


class Home:
    """
    The loop and the thread of one gateway, or of what stands in its place.

    Args:
        owner: what lives there, as its methods are named in errors.
        way_in: what calls something there from another thread.
    Attributes:
        loop: None until somebody enters one.
    """

    __slots__ = ("_owner", "_thread_id", "_way_in", "loop")

    def __init__(
        self, owner: str = "gateway", way_in: str = "gateway.call_threadsafe(...) with it"
    ) -> None:
        self._owner = owner
        self._way_in = way_in
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None

    def enter(self, what: str) -> None:
        """
        Live in the running loop from now on, as the first that waits for anything does.

        Args:
            what: the method that was called, for the error.
        Raises:
            UsageError: it lives in another one, or none runs.
        """
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.get_running_loop()
            self._thread_id = threading.get_ident()
        self.check_loop(what)

    def check_loop(self, what: str) -> None:
        """Raise UsageError outside of the loop; before anybody has entered nothing is outside."""
        loop = self.loop
        if loop is not None and asyncio._get_running_loop() is not loop:
            raise self._elsewhere(what)

    def check_thread(self, what: str) -> None:
        """Raise UsageError in another thread; the loop need not run."""
        if self._thread_id is not None and threading.get_ident() != self._thread_id:
            raise self._elsewhere(what)

    @property
    def has_ended(self) -> bool:
        """Whether the loop has been closed."""
        return self.loop is not None and self.loop.is_closed()

    def is_here(self) -> bool:
        """Tell whether this is its thread, or nobody has entered."""
        return self._thread_id is None or threading.get_ident() == self._thread_id

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call it in the loop, from any thread; not at all when the loop has ended."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(function, *args)

    def _elsewhere(self, what: str) -> UsageError:
        what, owner = what if "." in what else f"{self._owner}.{what}", self._owner
        if threading.get_ident() != self._thread_id:
            return UsageError(
                f"{what}() was called in another thread than that of the {owner}'s event loop; "
                f"there, call {self._way_in}"
            )
        return UsageError(
            f"{what}() was called outside of the event loop that the {owner} lives in; one {owner} "
            f"lives in one loop: call it there, or make a {owner} for this loop"
        )
