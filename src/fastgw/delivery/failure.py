"""What `@gateway.on_error` is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HandlerFailure"]


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """
    One error of one handler, for `@gateway.on_error`.

    Attributes:
        error: what it raised, with its traceback.
        handler: which one it was.
        name: of the event, such as "MESSAGE_CREATE".
        event: what it was called with: the Event; where `fields=` left none to be made, a Reading
            with its name, sequence, shard_id and values; or a StatusChange.
    """

    error: BaseException
    handler: Callable[..., object]
    name: str
    event: object
