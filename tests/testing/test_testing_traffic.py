"""`fastgw.testing.traffic`: sizes, shares, key order and repeatability of synthetic dispatches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from fastgw.errors import UsageError
from fastgw.testing.traffic.traffic import INTERACTIONS, LARGE_BOT, Dispatch, Traffic, encode

# Bots have received these with guild_id appended at the very end.
GUILD_ID_LAST = {
    "MESSAGE_CREATE",
    "MESSAGE_UPDATE",
    "MESSAGE_REACTION_ADD",
    "MESSAGE_REACTION_REMOVE",
    "GUILD_AUDIT_LOG_ENTRY_CREATE",
}


def _mean(traffic: Traffic, name: str, count: int = 400) -> float:
    return sum(len(traffic.dispatch(name).data) for _ in range(count)) / count


def _assert_descending(value: Any) -> None:
    """Check every map of up to 32 keys, at any depth."""
    if isinstance(value, dict):
        keys = list(value)
        if len(keys) <= 32:
            assert keys == sorted(keys, reverse=True)
        for item in value.values():
            _assert_descending(item)
    elif isinstance(value, list):
        for item in value:
            _assert_descending(item)


def test_same_seed_same_bytes():
    """Two generators with one seed agree byte for byte; another seed differs."""
    first = Traffic(5).dispatches(300)
    assert first == Traffic(5).dispatches(300)
    assert first != Traffic(6).dispatches(300)


def test_continues_the_stream():
    """A second call goes on where the first ended: ids and times never repeat."""
    traffic = Traffic(1, mix={"MESSAGE_DELETE": 1})
    ids = [orjson.loads(d.data)["id"] for d in traffic.dispatches(50) + traffic.dispatches(50)]
    assert len(set(ids)) == 100
    assert sorted(ids, key=int) == ids


@pytest.fixture(scope="module")
def stream() -> list[Dispatch]:
    """Make 8,000 dispatches of a large bot's mix."""
    return Traffic(2).dispatches(8_000)


def test_mean_size_of_a_large_bot(stream):
    """The whole mix means about 850 bytes a message."""
    mean = sum(len(encode(d.name, 1, d.data)) for d in stream) / len(stream)
    assert 760 < mean < 960


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("MESSAGE_CREATE", 1_080, 1_350),
        ("PRESENCE_UPDATE", 270, 420),
        ("TYPING_START", 620, 760),
        ("INTERACTION_CREATE", 1_800, 3_200),
    ],
)
def test_mean_size_of_an_event(name, low, high):
    """The common events have the sizes that were observed."""
    assert low < _mean(Traffic(3), name) < high


def test_guild_sizes_are_log_normal():
    """GUILD_CREATE runs from 10 KB to 2 MB, mean about 76 KB, most of them far smaller."""
    sizes = sorted(len(d.data) for d in Traffic(4, guilds=300).startup())
    assert sizes[0] >= 10_000
    assert sizes[-1] <= 2_000_000
    assert 60_000 < sum(sizes) / len(sizes) < 95_000
    assert sizes[len(sizes) // 2] < 60_000


def test_shares_follow_the_mix(stream):
    """Counts of the leading events come within a tenth of their share."""
    counts = Counter(d.name for d in stream)
    total = sum(LARGE_BOT.values())
    for name in ("MESSAGE_CREATE", "PRESENCE_UPDATE", "TYPING_START"):
        assert counts[name] == pytest.approx(8_000 * LARGE_BOT[name] / total, rel=0.1)


@pytest.mark.parametrize("name", Traffic.names())
def test_key_order_is_the_wires(name):
    """Maps descend alphabetically; guild_id is last where it was seen so, sorted elsewhere."""
    traffic = Traffic(6)
    for _ in range(12):
        data = orjson.loads(traffic.dispatch(name).data)
        if name in GUILD_ID_LAST and "guild_id" in data:
            assert list(data)[-1] == "guild_id"
            del data["guild_id"]
        _assert_descending(data)


@pytest.mark.parametrize("name", Traffic.names())
def test_guild_id_is_that_of_the_data(name):
    """`Dispatch.guild_id` says what `d` says; for whole guilds that is `d.id`."""
    traffic = Traffic(7)
    for _ in range(12):
        dispatch = traffic.dispatch(name)
        data = orjson.loads(dispatch.data)
        key = "id" if name in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE") else "guild_id"
        assert dispatch.guild_id == (int(data[key]) if key in data else None)
        assert dispatch.guild_id is None or dispatch.guild_id in traffic.guild_ids


def test_large_maps_are_not_sorted():
    """GUILD_CREATE has over 32 keys, in neither direction of the alphabet."""
    keys = list(orjson.loads(Traffic(8).dispatch("GUILD_CREATE").data))
    assert len(keys) > 32
    assert keys not in (sorted(keys), sorted(keys, reverse=True))


def test_messages_hold_unicode_escapes_and_nested_traps():
    """Text of several scripts, escaped quotes, and a nested guild_id all occur."""
    blob = b"\n".join(d.data for d in Traffic(9, mix={"MESSAGE_CREATE": 1}).dispatches(2_000))
    for needle in ("да", "これ", "😂", '\\"', "\\n", "\\\\"):
        assert needle.encode() in blob
    assert b'"message_reference":{"type":0,"message_id":"' in blob
    assert b'"identity_guild_id"' in blob


def test_some_messages_are_direct():
    """Direct messages have neither guild_id nor member."""
    direct = [d for d in Traffic(10).dispatches(5_000) if d.guild_id is None]
    assert direct
    message = next(orjson.loads(d.data) for d in direct if d.name == "MESSAGE_CREATE")
    assert "member" not in message
    assert "guild_id" not in message


def test_startup_takes_chosen_guilds():
    """`startup()` makes the guilds it is asked for, in that order."""
    traffic = Traffic(11, guilds=20)
    chosen = traffic.guild_ids[3:6]
    made = traffic.startup(chosen)
    assert [d.guild_id for d in made] == chosen
    assert [int(orjson.loads(d.data)["id"]) for d in made] == chosen


def test_encode_makes_the_observed_envelope():
    """Keys t, s, op, d without white space."""
    assert encode("X", 7, b'{"a":1}') == b'{"t":"X","s":7,"op":0,"d":{"a":1}}'


def test_other_mixes():
    """A mix may hold one name only."""
    assert {d.name for d in Traffic(mix=INTERACTIONS).dispatches(20)} == {"INTERACTION_CREATE"}


def test_unknown_names_and_empty_worlds_are_usage_errors():
    """A mistake in the arguments says what to do."""
    with pytest.raises(UsageError, match=r"NO_SUCH_EVENT; Traffic.names\(\) lists"):
        Traffic(mix={"NO_SUCH_EVENT": 1})
    with pytest.raises(UsageError, match="NO_SUCH_EVENT"):
        Traffic().dispatch("NO_SUCH_EVENT")
    with pytest.raises(UsageError, match="at least one guild"):
        Traffic(guilds=0)
    with pytest.raises(UsageError, match="mix"):
        Traffic(mix={})
