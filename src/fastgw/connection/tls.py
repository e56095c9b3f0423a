"""
TLS: one context for all, handshakes that fail quietly, a clock that is wrong.

TCP that ends in the middle of the TLS handshake is an ordinary failure, and `Dial.open` raises it.
aiofastnet 1.2 also gives it to the loop's exception handler, and gives the class instead of an
error, over which asyncio fails in turn: forty lines on stderr for every attempt. `quiet_handshake`
keeps that one report out.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["default_context", "is_not_yet_valid", "quiet_handshake"]

# OpenSSL, x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CRL_NOT_YET_VALID.
_NOT_YET_VALID = (9, 11)

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


@functools.cache
def default_context() -> ssl.SSLContext:
    """Return the one context of all who bring none; the system's certificates are slow to read."""
    return ssl.create_default_context()


def is_not_yet_valid(error: BaseException | None) -> bool:
    """
    Tell whether a certificate was refused because its time has not come.

    A machine without a clock of its own begins in the past until the network has set it, so this
    passes by itself. The other side of it, a certificate that has expired, does not.
    """
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _NOT_YET_VALID


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
