"""
What a group of consumers wants, as text: names of events, each with its filters.

`{"MESSAGE_CREATE": [filter, ...], "GUILD_CREATE": null}`: null stands for all events of the name,
a list for those that one of its filters takes. A filter is what `Filter.spec` says, in JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from .._decode import ValueSet
from ..delivery.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode_interests", "encode_interests"]


def encode_interests(wanted: Iterable[tuple[str, Filter | None]]) -> bytes:
    """Return the text for those who want events of a name, each with its filter."""
    interests: dict[str, list[Any] | None] = {}
    for name, where in wanted:
        filters = interests.setdefault(name, [])
        if where is None or filters is None:
            interests[name] = None
        else:
            filters.append(_plain(where.spec))
    return orjson.dumps(interests, option=orjson.OPT_SORT_KEYS)


def decode_interests(text: bytes) -> dict[str, Filter | None]:
    """
    Return the filter of each name, None for all of its events.

    Raises:
        ValueError: it is no such text.
    """
    interests: dict[str, Filter | None] = {}
    for name, filters in orjson.loads(text).items():
        specs = None if filters is None else [_spec(one) for one in filters]
        if specs is None:
            interests[name] = None
        else:
            interests[name] = Filter(specs[0] if len(specs) == 1 else ("any", *specs))
    return interests


def _plain(spec: Any) -> Any:
    if isinstance(spec, tuple):
        return [_plain(part) for part in spec]
    return {"set": list(spec)} if isinstance(spec, ValueSet) else spec


def _spec(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_spec(part) for part in plain)
    return ValueSet(plain["set"]) if isinstance(plain, dict) else plain
