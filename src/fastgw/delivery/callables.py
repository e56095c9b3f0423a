"""What may be a handler: callables of so many arguments, and whether they must be awaited."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..quoting import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decode import Fields

__all__ = ["check_handler", "is_async", "is_of_event", "name_of"]


def check_handler(handler: object, fields: Fields[Any] | None = None) -> None:
    """Raise UsageError unless it can be called with one argument, or with a value of each field."""
    if not callable(handler):
        raise UsageError(f"a handler must be callable, and {handler!r:.100} is not")
    if any(_is_generator(made) for made in _faces(handler)):
        raise UsageError(
            f"handler {_place_of(handler)} is a generator: it would never run; do not yield"
        )
    try:
        signature = inspect.signature(handler)
    except (ValueError, TypeError):
        return  # some builtins tell no signature
    try:
        signature.bind(*(object(),) * (1 if fields is None else len(fields)))
    except TypeError as error:
        advice = ""
        if next(iter(signature.parameters), None) == "self":
            advice = "; register the bound method of an object, in its __init__ perhaps"
        given = "one argument, the event"
        if fields is not None:
            named = ", ".join(fields.paths)
            given = f"{counted(len(fields), 'argument')}, the values of {named:.200}"
        raise UsageError(
            f"handler {_place_of(handler)} is called with {given}: {error}{advice}"
        ) from None


def is_async(handler: Callable[..., object]) -> bool:
    """Tell whether calling it gives a coroutine; sees through partials and callable objects."""
    return any(inspect.iscoroutinefunction(face) for face in _faces(handler))


def is_of_event(argument: object) -> bool:
    """Tell whether a handler was called with an Event, or with what was made of one instead."""
    return hasattr(argument, "message_bytes")


def name_of(handler: Callable[..., object]) -> str:
    """Return what a handler is called in logs."""
    name = getattr(handler, "__qualname__", None)
    if isinstance(name, str):
        return name
    while isinstance(handler, functools.partial):
        handler = handler.func
        if isinstance(name := getattr(handler, "__qualname__", None), str):
            return f"partial of {name}"
    return type(handler).__qualname__  # its repr may be long, or raise


def _place_of(handler: Callable[..., object]) -> str:
    """Return what a handler is called and where its code stands, if that can be told."""
    for face in _faces(handler):
        code = getattr(getattr(face, "__wrapped__", face), "__code__", None)
        if inspect.iscode(code):
            return f"{name_of(handler)} ({code.co_filename}:{code.co_firstlineno})"
    return name_of(handler)


def _faces(handler: Callable[..., object]) -> tuple[object, object]:
    """Return what is called: itself, and its class's `__call__`, inside any partials."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler, getattr(handler, "__call__", None)  # noqa: B004 - its kind is asked


def _is_generator(function: object) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
