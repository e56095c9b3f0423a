"""
Name lookups that may hang without holding anybody.

`getaddrinfo` cannot be stopped: with a silent name server it lasts for half a minute and more. In
the event loop's executor it would take one of a few threads from the program, and hold the end of
`asyncio.run()`, which waits for them. So each name in flight has one daemon thread of its own,
shared by all who ask, in whichever loop; who stops waiting leaves it behind.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from concurrent.futures import Future
from typing import Any, NamedTuple

__all__ = ["Address", "resolve"]


class Address(NamedTuple):
    """Where one TCP connection may go; `sockaddr` is what `connect` takes."""

    family: int
    sockaddr: Any


_Found = Future[list[Address] | OSError]
_lock = threading.Lock()
_in_flight: dict[tuple[str, int], _Found] = {}


def _forget_parent() -> None:
    global _lock
    _lock = threading.Lock()
    _in_flight.clear()  # a forked process has the table without the threads


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_parent)


async def resolve(host: str, port: int) -> list[Address]:
    """
    Return the addresses of `host`, the best first (RFC 6724, as the system sorts them).

    Raises:
        OSError: there is none (`socket.gaierror`), or the system cannot look it up.
    Cancelling returns at once; a lookup that others wait for goes on.
    """
    literal = _look_up(host, port, socket.AI_NUMERICHOST)
    found = literal
    if isinstance(found, OSError):
        found = await asyncio.wrap_future(_ask(host, port))
    if isinstance(found, OSError):
        raise type(found)(*found.args)  # each asker has an error of his own
    return list(found)


def _ask(host: str, port: int) -> _Found:
    """Begin to look `host` up, unless somebody has."""
    key = (host, port)
    with _lock:
        found = _in_flight.get(key)
        if found is not None:
            return found
        found = _in_flight[key] = Future()
        found.set_running_or_notify_cancel()  # from here on no asker can cancel it for the others

    def run() -> None:
        result = _look_up(host, port)
        with _lock:
            if _in_flight.get(key) is found:
                del _in_flight[key]
        found.set_result(result)

    try:
        threading.Thread(target=run, name=f"fastgw looks up {host}", daemon=True).start()
    except RuntimeError as error:  # the system has no thread to give
        with _lock:
            _in_flight.pop(key, None)
        found.set_result(OSError(str(error)))
    return found


def _look_up(host: str, port: int, flags: int = 0) -> list[Address] | OSError:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        return error.with_traceback(None)
    except ValueError as error:  # no name at all: too long, empty labels, a NUL
        return socket.gaierror(socket.EAI_NONAME, str(error))
    inet = (socket.AF_INET, socket.AF_INET6)
    found = {Address(row[0], row[4]): None for row in rows if row[0] in inet}
    return list(found) or socket.gaierror(socket.EAI_NONAME, "no address that TCP can use")
