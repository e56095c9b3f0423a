"""
Fields and filters in plain Python: the oracle for `fastgw._decode`, by a slow walk and by parsing.

`read_fields` says what `event.read` gives, byte for byte of the rules: one walk, the first of
repeated members unless both are seen, parsing where the walk does not understand. `holds` says what
a filter means for a value that was parsed; for valid JSON without repeated members the compiled
filter must agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from reference_decoder import NotWalkableError, skip_space, skip_string, skip_value

ABSENT = object()


class Walk:
    """The walk over members: which spans the wanted paths have, and where it stopped."""

    def __init__(self, text: bytes, paths: Sequence[str]) -> None:
        self.text = text
        self.wanted = {tuple(path.split(".")) for path in paths}
        self.undecided = set(self.wanted)
        self.spans: dict[tuple[str, ...], bytes] = {}
        at = skip_space(text, 0)
        if at >= len(text):
            raise NotWalkableError
        if text[at : at + 1] == b"{":
            self.walk_object(at + 1, ())

    def below(self, path: tuple[str, ...]) -> set[tuple[str, ...]]:
        return {wanted for wanted in self.wanted if wanted[: len(path)] == path}

    def walk_object(self, at: int, path: tuple[str, ...]) -> int:
        text, seen = self.text, set()
        first = True
        while True:
            at = skip_space(text, at)
            if text[at : at + 1] == b"}":
                self.undecided -= self.below(path) - {path}
                return at + 1
            if not first:
                if text[at : at + 1] != b",":
                    raise NotWalkableError
                at = skip_space(text, at + 1)
            first = False
            if text[at : at + 1] != b'"':
                raise NotWalkableError
            end = skip_string(text, at)
            key = text[at + 1 : end - 1]
            if b"\\" in key:
                raise NotWalkableError
            at = skip_space(text, end)
            if text[at : at + 1] != b":":
                raise NotWalkableError
            at = skip_space(text, at + 1)
            if at >= len(text):
                raise NotWalkableError
            here = (*path, key.decode("utf-8", "surrogateescape"))
            below = self.below(here)
            if not below:
                at = skip_value(text, at)
                continue
            if here in seen:
                raise NotWalkableError
            seen.add(here)
            start = at
            if text[at : at + 1] != b"{" or below == {here}:
                at = skip_value(text, at)
                self.undecided -= below
            elif here in below:
                at = skip_value(text, at)
                self.undecided.discard(here)
                self.walk_object(start + 1, here)
            else:
                at = self.walk_object(start + 1, here)
            if at >= len(text):
                raise NotWalkableError
            if here in below:
                self.spans[here] = text[start:at]
            if not self.undecided & (self.below(path) - {path}):
                return at if not self.undecided else self.skip_rest(at)

    def skip_rest(self, at: int) -> int:
        # The rest of the object as the value of an object of its own.
        return skip_value(b"{" + self.text[at:], 0) - 1 + at


def value_in(data: Any, path: str, missing: Any = ABSENT) -> Any:
    for key in path.split("."):
        if not isinstance(data, dict) or key not in data:
            return missing
        data = data[key]
    return data


def read_fields(text: bytes, paths: Sequence[str], missing: Any = None) -> tuple[Any, ...]:
    """What `event.read(Fields(*paths))` gives for an event whose d is `text`, or its error."""
    try:
        spans = Walk(text, paths).spans
        return tuple(
            orjson.loads(spans[key]) if (key := tuple(path.split("."))) in spans else missing
            for path in paths
        )
    except (NotWalkableError, orjson.JSONDecodeError):
        data = orjson.loads(text)
    return tuple(value_in(data, path, missing) for path in paths)


def is_number(value: Any, number: int) -> bool:
    return (
        value == str(number) if isinstance(value, str) else type(value) is int and value == number
    )


def is_in(value: Any, values: Any) -> bool:
    return any(
        is_number(value, one) if isinstance(one, int) else isinstance(value, str) and value == one
        for one in values
    )


def holds(spec: tuple[Any, ...], data: Any, guild_key: str = "guild_id") -> bool:
    """Tell whether a filter holds for `d` as it was parsed."""
    kind, *rest = spec
    if kind == "all":
        return all(holds(one, data, guild_key) for one in rest)
    if kind == "any":
        return any(holds(one, data, guild_key) for one in rest)
    if kind == "not":
        return not holds(rest[0], data, guild_key)
    value = value_in(data, guild_key if kind == "guild_in" else rest[0], None)
    if value is None:
        return False
    constant = rest[-1]
    if kind == "exists":
        return True
    if kind == "is_true":
        return value is True
    if kind == "equals":
        if isinstance(constant, bool):
            return value is constant
        return is_in(value, [constant])
    if kind in ("is_in", "guild_in"):
        return is_in(value, constant)
    if kind == "startswith":
        return isinstance(value, str) and value.startswith(constant)
    assert kind == "contains_id"
    return isinstance(value, list) and any(is_number(one, constant) for one in value)
