"""
A TLS handshake that fails quietly.

TCP that ends in the middle of the TLS handshake is an ordinary failure, and `Dial.open` raises it.
aiofastnet 1.2 also gives it to the loop's exception handler, and gives the class instead of an
error, over which asyncio fails in turn: forty lines on stderr for every attempt. `quiet_handshake`
keeps that one report out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["quiet_handshake"]

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class _Filter:
    """An exception handler that passes on all but that report; several connects share it."""

    def __init__(self, behind: _Handler | None) -> None:
        self.behind = behind
        self.users = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is ConnectionResetError:  # the class itself, never an error
            return
        if self.behind is None:
            loop.default_exception_handler(context)
        else:
            self.behind(loop, context)


@contextmanager
def quiet_handshake() -> Iterator[None]:
    """
    Filter the running loop's exception handler for as long as the `with` block runs.

    Afterwards the handler is the one of before, unless somebody has set another meanwhile.
    """
    loop = asyncio.get_running_loop()
    current = loop.get_exception_handler()
    ours = current if isinstance(current, _Filter) else _Filter(current)
    if ours is not current:
        loop.set_exception_handler(ours)
    ours.users += 1
    try:
        yield
    finally:
        ours.users -= 1
        if not ours.users and loop.get_exception_handler() is ours:
            loop.set_exception_handler(ours.behind)
