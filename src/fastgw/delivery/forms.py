"""
Forms: what a handler is called with.

That is the Event, unless `fields=` names members of its data: then no event is made, and the
handler takes their values one by one. For an async handler the plan makes a Reading, which knows
where the values came from while the coroutine waits or runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._decode import Fields
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decode import Reading

__all__ = ["check_fields", "spreading"]


def check_fields(fields: object, missing: object = None) -> Fields[Any] | None:
    """
    Return the fields that a handler asks for; None: it takes the event.

    Raises:
        UsageError: no tuple or list of paths, or a `missing` that stands for nothing.
    """
    if fields is None:
        if missing is not None:
            raise UsageError("missing= goes with fields=: it stands for those that are not there")
        return None
    if isinstance(fields, Fields):
        return fields
    if not isinstance(fields, (tuple, list)):
        one = f"({fields!r},)" if isinstance(fields, str) else '("author.id", "content")'
        raise UsageError(f"fields= is a tuple of paths, such as {one:.100}, not {fields!r:.100}")
    return Fields(*fields)


def spreading(handler: Callable[..., Any]) -> Callable[[Reading], Any]:
    """Return what calls a handler with the values of a reading."""
    return lambda reading: handler(*reading.values)
