"""`fastgw.types`: they fit what comes, and say what may be missing."""

from __future__ import annotations

import functools
import sys
import typing

import msgspec
import orjson
import pytest

from fastgw import types
from fastgw.protocol.events import EVENT_NAMES
from fastgw.testing import Traffic

if sys.version_info >= (3, 11):
    from typing import get_type_hints, is_typeddict
else:  # what typing has there does not know these
    from typing_extensions import get_type_hints, is_typeddict

# The generator of traffic was written after what really comes, the types after the documentation.
MADE = sorted(types.PAYLOADS.keys() & set(Traffic.names()))
LARGE = {"GUILD_CREATE", "GUILD_MEMBERS_CHUNK"}
# What comes and the documentation does not know.
UNDOCUMENTED = {
    "activity_instances", "application_command_counts", "broadcast", "clan",
    "content_scan_version", "display_name_styles", "embedded_activities", "entitlement_sku_ids",
    "expires_at", "flags", "guild_id", "home_header", "hub_type", "icon_emoji", "id",
    "inventory_settings", "latest_onboarding_question_id", "lazy", "nsfw",
    "processed_at_timestamp", "profile", "unusual_dm_activity_until", "version",
}  # fmt: skip


hints_of = functools.cache(get_type_hints)


def undocumented(kind, value):
    """Yield the keys that a type does not have, all the way down."""
    if value is None:
        return
    if is_typeddict(kind):
        hints = hints_of(kind)
        for key, inner in value.items():
            if key not in hints:
                yield key
            else:
                yield from undocumented(hints[key], inner)
        return
    arguments = typing.get_args(kind)
    if isinstance(value, list) and typing.get_origin(kind) is list:
        for inner in value:
            yield from undocumented(arguments[0], inner)
    elif isinstance(value, dict) and typing.get_origin(kind) is dict:
        for inner in value.values():
            yield from undocumented(arguments[1], inner)
    elif typing.get_origin(kind) is not dict:
        for argument in arguments:
            yield from undocumented(argument, value)


@pytest.mark.parametrize("name", MADE)
def test_a_type_fits_what_comes(name):
    """Nothing that is required is missing in what is generated, nothing is of another type."""
    traffic = Traffic(seed=11, guilds=20)
    decoder = msgspec.json.Decoder(types.PAYLOADS[name])
    extra = set()
    for _ in range(20 if name in LARGE else 200):
        data = traffic.dispatch(name).data
        decoder.decode(data)
        extra.update(undocumented(types.PAYLOADS[name], orjson.loads(data)))
    assert extra <= UNDOCUMENTED


@pytest.mark.parametrize("name", sorted(types.PAYLOADS))
def test_a_type_is_one_that_msgspec_decodes(name):
    """All of its annotations can be resolved at run time, and none is an ambiguous union."""
    msgspec.json.Decoder(types.PAYLOADS[name])


def test_the_walk_over_types_finds_what_is_not_there():
    """A test of the tests: also in lists and below NotRequired."""
    data = {"a": 1, "mentions": [{"b": 2}], "referenced_message": {"author": {"c": 3}}}
    assert set(undocumented(types.MessageCreate, data)) == {"a", "b", "c"}


def test_the_events_that_bots_use_most_have_a_type():
    """Each by its documented name, each with a text that names it."""
    assert len(types.PAYLOADS) >= 25
    assert set(types.PAYLOADS) <= EVENT_NAMES
    for name, kind in types.PAYLOADS.items():
        assert kind.__name__.lower() == name.replace("_", "").lower()
        assert name in kind.__doc__


def test_all_that_is_exported_has_a_text():
    """`__all__` names classes, and their docstrings are our own."""
    for name in set(types.__all__) - {"PAYLOADS"}:
        assert getattr(types, name).__doc__.strip()


def test_the_presence_of_a_member_that_only_says_who_it_is():
    """PRESENCE_UPDATE has no more of a user than the id, when nothing of it changed."""
    data = b'{"user":{"id":"1"},"guild_id":"2","status":"idle","activities":[],"client_status":{}}'
    presence = msgspec.json.decode(data, type=types.PresenceUpdate)
    assert presence["user"]["id"] == "1"


def test_the_module_of_an_heir_knows_the_types_of_what_it_inherits():
    """msgspec looks for them there, on Python 3.14."""
    for payload in types.PAYLOADS.values():
        known = vars(sys.modules[payload.__module__])
        for hint in typing.cast("dict[str, typing.Any]", payload.__annotations__).values():
            text = hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else str(hint)
            eval(text, {**known, "list": list}, {})
