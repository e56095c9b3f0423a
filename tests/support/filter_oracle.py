"""Random filters, and whether compiled filters and fields agree with the oracles."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import orjson
from payloads import IDS, PATHS
from plans import Wanting, deliver, message, planned
from reference_fields import holds, read_fields
from strategies import TEXTS

from fastgw._decode import Fields
from fastgw.delivery.filters import Filter, in_guilds
from fastgw.delivery.filters import field as member
from fastgw.errors import DecodeError


def random_filter(rng: random.Random, depth: int = 0) -> Filter:
    """Make any filter at all."""
    roll = rng.random()
    if depth < 3 and roll < 0.4:
        kind = rng.choice("&|~")
        left = random_filter(rng, depth + 1)
        if kind == "~":
            return ~left
        right = random_filter(rng, depth + 1)
        return left & right if kind == "&" else left | right
    if roll < 0.45:
        return in_guilds(rng.sample(IDS, 3))
    path = member(rng.choice(PATHS))
    return rng.choice((
        lambda: path.exists(), lambda: path.is_true(),
        lambda: path.equals(rng.choice((*IDS, *TEXTS, True, False))),
        lambda: path.is_in(rng.sample(IDS, rng.randrange(5))),
        lambda: path.startswith(rng.choice((*TEXTS, "h", "", "5", "a"))[: rng.randrange(6)]),
        lambda: path.contains_id(rng.choice((5, 0, "175928847299117063"))),
    ))()  # fmt: skip


class Agreement:
    """
    Filters and fields in one plan, and what the oracles say of them.

    Args:
        filters: each of one subscription; every other one reads the fields.
    """

    def __init__(self, filters: list[Filter], fields: Fields[Any], name: str = "X") -> None:
        self.name = name
        self.guild_key = "id" if name == "GUILD_CREATE" else "guild_id"
        self.wantings = [
            Wanting(where=one, form=fields if i % 2 else None) for i, one in enumerate(filters)
        ]
        self.decoder, self.reports = planned(*self.wantings, name=name)

    def check(self, text: bytes, wrap: Any = bytes) -> bool:
        """
        Deliver d as this text: on valid JSON all agree, and else nothing but DecodeError comes.

        Returns:
            Whether it was valid JSON.
        """
        for wanting in self.wantings:
            wanting.called.clear()
        failures = self.reports.failures
        failures.clear()
        with contextlib.suppress(DecodeError):
            deliver(self.decoder, wrap(message(text, self.name)))
        assert all(isinstance(error, DecodeError) for _, _, error in failures), failures
        try:
            data = orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
        try:
            assert not failures, text
            self._compare(text, data)
        except AssertionError:
            if not has_repeats(text):  # slow, and seldom asked
                raise
        return True

    def _compare(self, text: bytes, data: Any) -> None:
        for wanting in self.wantings:
            expected = holds(wanting.where.spec, data, self.guild_key)
            assert bool(wanting.called) is expected, (text, wanting.where)
            if expected and wanting.form is not None:
                values = read_fields(text, wanting.form.paths)
                assert repr(wanting.called[0]) == repr(values), text


def has_repeats(text: bytes) -> bool:
    """Tell whether an object says a name twice: then no two readers agree."""
    repeats = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        repeats.append(len(members) != len(dict(members)))
        return dict(members)

    json.loads(text, object_pairs_hook=pairs)
    return any(repeats)
