"""
Forms: what a handler is called with.

That is the Event, unless `fields=` names members of its data: then no event is made, and the
handler takes their values one by one. For an async handler the plan makes a Reading, which knows
where the values came from while the coroutine waits or runs. With `type=` it is an object of that
type, decoded as the handler is called.

A form is None, Fields, or a type that `Event.decode` knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._decode import Fields, check_type
from ..errors import UsageError
from .paths import check_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decode import Event, Reading

__all__ = ["check_form", "fields_of", "making"]


def check_form(fields: object, missing: object, kind: Any) -> Any:
    """
    Return the form that a handler asks for; None: it takes the event.

    Raises:
        UsageError: no tuple or list of paths, a `missing` that stands for nothing, not a type to
            decode into, or both.
    """
    if kind is None:
        return _check_fields(fields, missing)
    if fields is not None or missing is not None:
        raise UsageError("a handler takes values of fields=, or an object of type=, not both")
    check_type(kind)
    return kind


def _check_fields(fields: object, missing: object) -> Fields[Any] | None:
    if fields is None:
        if missing is not None:
            raise UsageError("missing= goes with fields=: it stands for those that are not there")
        return None
    if isinstance(fields, Fields):
        return fields
    if not isinstance(fields, (tuple, list)):
        one = f"({fields!r},)" if isinstance(fields, str) else '("author.id", "content")'
        raise UsageError(f"fields= is a tuple of paths, such as {one:.100}, not {fields!r:.100}")
    for path in fields:
        check_path(path)
    return Fields(*fields)


def fields_of(form: object) -> Fields[Any] | None:
    """Return the fields whose values a handler of this form takes; None: it takes one argument."""
    return form if isinstance(form, Fields) else None


def making(handler: Callable[..., Any], form: Any) -> Callable[[Any], Any]:
    """Return what calls a handler in its form with what a plan gives it: an Event or a Reading."""
    if form is None:
        return handler
    if isinstance(form, Fields):

        def spread(reading: Reading) -> Any:
            return handler(*reading.values)

        return spread

    def decode(event: Event) -> Any:
        return handler(event.decode(form))

    return decode
