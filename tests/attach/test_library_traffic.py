"""The traffic that bots of other libraries are compared on."""

from __future__ import annotations

from collections import Counter

import orjson
from library_traffic import BOT_ID, LibraryTraffic

from fastgw.testing import Traffic


def test_it_holds_every_event_that_can_be_made():
    """Each name comes at least once, however few are asked for beyond that."""
    traffic = LibraryTraffic(1)
    names = Counter(d.name for d in traffic.dispatches(len(Traffic.names())))
    assert set(names) == set(Traffic.names())


def test_a_seed_gives_the_same_dispatches():
    """Both bots of a comparison are served the same bytes."""
    one, other = LibraryTraffic(5), LibraryTraffic(5)
    assert one.guilds == other.guilds
    assert one.dispatches(300) == other.dispatches(300)


def test_the_bot_is_a_member_and_is_updated():
    """Its own member is in each guild, and some member updates and presences are about it."""
    traffic = LibraryTraffic(2)
    for guild in traffic.guilds:
        members = orjson.loads(guild.data)["members"]
        assert BOT_ID in [member["user"]["id"] for member in members]
    own = [d.name for d in traffic.dispatches(2_000) if BOT_ID.encode() in d.data]
    assert {"GUILD_MEMBER_UPDATE", "PRESENCE_UPDATE", "USER_UPDATE"} <= set(own)


def test_events_are_about_messages_that_came():
    """Most edits name a message that was created before."""
    created, edited = set(), []
    for dispatch in LibraryTraffic(3).dispatches(2_000):
        if dispatch.name == "MESSAGE_CREATE":
            created.add(orjson.loads(dispatch.data)["id"])
        elif dispatch.name == "MESSAGE_UPDATE":
            edited.append(orjson.loads(dispatch.data)["id"] in created)
    assert sum(edited) > len(edited) / 2 > 5
