"""Which presence each shard is to show, before and after it is started."""

from __future__ import annotations

import pytest

from fastgw import Intents, UsageError
from fastgw.fleet.presence import Presences
from fastgw.protocol.identity import Identity

IDLE = {"since": None, "activities": [], "status": "idle", "afk": False}
DND = {**IDLE, "status": "dnd"}


@pytest.fixture
def presences():
    identity = Identity(token="t", shard_id=0, shard_count=1, intents=Intents(1), presence=IDLE)
    return Presences(identity)


def shown(presences, *shard_ids):
    identities = [presences.identity(shard_id, 8) for shard_id in shard_ids]
    assert [(one.shard_id, one.shard_count) for one in identities] == [(i, 8) for i in shard_ids]
    return [one.presence["status"] for one in identities]


def test_the_gateways_own_is_shown_until_another_is_set(presences):
    """By all shards, then by those that are meant."""
    assert shown(presences, 0, 7) == ["idle", "idle"]
    presences.set(DND, (7,))
    assert shown(presences, 0, 7) == ["idle", "dnd"]


def test_one_for_all_goes_before_those_of_single_shards(presences):
    """Also of shards that nobody has started yet."""
    presences.set({**IDLE, "status": "online"}, (7,))
    presences.set(DND, None)
    assert shown(presences, 0, 7) == ["dnd", "dnd"]


def test_a_copy_of_it_is_kept(presences):
    """With all that is in it."""
    wanted = {**DND, "activities": [{"name": "chess", "type": 0}]}
    presences.set(wanted, (7,))
    wanted["activities"][0]["name"] = "changed"
    assert presences.identity(7, 8).presence["activities"][0]["name"] == "chess"


@pytest.mark.parametrize("shard_ids", [None, (7,)])
@pytest.mark.parametrize("bad", [None, 5, {"status": object()}, {**DND, "x": "y" * 5_000}])
def test_one_that_cannot_be_said_is_refused(presences, bad, shard_ids):
    """And the one before stays."""
    with pytest.raises(UsageError):
        presences.set(bad, shard_ids)
    assert shown(presences, 7) == ["idle"]


def test_nothing_is_not_a_presence(presences):
    """A gateway without one says none; a shard that shows one cannot take it back."""
    with pytest.raises(UsageError, match="a presence is a mapping"):
        presences.set(None, None)
