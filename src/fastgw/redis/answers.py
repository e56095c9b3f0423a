"""
Errors on their way back to who asked, as text; only what is named here is ever made of it.

An error keeps its class, its text and its numbers. What another process may say is JSON: nothing is
unpickled that comes from a server.
"""

from __future__ import annotations

import asyncio

import orjson

from ..errors import (
    CommandTooBig,
    FastgwError,
    MembersRateLimited,
    ProtocolError,
    SendQueueFull,
    SessionLost,
    UsageError,
    WaitFailed,
)

__all__ = ["decode_error", "encode_error"]

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        CommandTooBig,
        MembersRateLimited,
        ProtocolError,
        SendQueueFull,
        SessionLost,
        UsageError,
        WaitFailed,
    )
}
_TIMEOUT = "TimeoutError"  # asyncio's; a class of its own before Python 3.11


def encode_error(error: Exception) -> bytes:
    """Return the text of an error; of a class that cannot travel it is the nearest that can."""
    if isinstance(error, asyncio.TimeoutError):
        name = _TIMEOUT
    else:
        names = (kind.__name__ for kind in type(error).__mro__)
        name = next((name for name in names if name in _KINDS), "")
    numbers = {
        key: value
        for key, value in error.__dict__.items()
        if isinstance(value, (int, float, str, bool, type(None)))
    }
    return orjson.dumps({"error": name, "text": str(error), "numbers": numbers})


def decode_error(text: bytes) -> Exception:
    """Return the error that this text stands for."""
    said = orjson.loads(text)
    if said["error"] == _TIMEOUT:
        return asyncio.TimeoutError(said["text"])
    kind = _KINDS.get(said["error"], FastgwError)
    error = kind.__new__(kind, said["text"])
    error.__dict__.update(said["numbers"])
    return error
