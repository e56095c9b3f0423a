"""What may be a handler: callables that take one argument, and whether they must be awaited."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_handler", "is_async", "name_of"]


def check_handler(handler: object) -> None:
    """Raise UsageError unless it can be called with one argument."""
    if not callable(handler):
        raise UsageError(f"a handler must be callable, and {handler!r} is not")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise UsageError(f"handler {handler!r} is a generator: it would never run; do not yield")
    try:
        signature = inspect.signature(handler)
    except (ValueError, TypeError):
        return  # some builtins tell no signature
    try:
        signature.bind(object())
    except TypeError as error:
        raise UsageError(
            f"handler {handler!r} is called with one argument, the event: {error}"
        ) from None
    if _hides_async(handler):
        raise UsageError(
            f"handler {handler!r} is a sync wrapper of an async function, which would never be "
            "awaited: make the wrapper `async def`, and await the function in it"
        )


def is_async(handler: Callable[..., object]) -> bool:
    """Tell whether calling it gives a coroutine; sees through partials and callable objects."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - its kind is asked, not its existence
    )


def name_of(handler: Callable[..., object]) -> str:
    """Return what a handler is called in logs."""
    return getattr(handler, "__qualname__", None) or repr(handler)


def _hides_async(handler: Callable[..., object]) -> bool:
    """Tell whether it is a sync `functools.wraps` wrapper around a coroutine function."""
    if is_async(handler):
        return False
    while isinstance(handler, functools.partial):
        handler = handler.func
    call = getattr(handler, "__call__", None)  # noqa: B004 - what it wraps is asked
    return any(inspect.iscoroutinefunction(inspect.unwrap(f)) for f in (handler, call) if f)
