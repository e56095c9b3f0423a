"""What a user asks for in a command: ids, and queries of members, checked when it is asked."""

from __future__ import annotations

import pytest

from fastgw.errors import UsageError
from fastgw.fleet.commands.queries import check_id, check_ids, check_query
from fastgw.words import Intents

ALL = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES
LAST = (1 << 64) - 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), ("0", "0"), (7, "7"), (LAST, str(LAST)), (str(LAST), str(LAST)), ("007", "7")],
)
def test_an_id_is_written_as_discord_does(value, text):
    """From a number or from text, up to 64 bits."""
    assert check_id("guild_id", value) == text


@pytest.mark.parametrize(
    "value",
    [-1, LAST + 1, str(LAST + 1), "", "x", "-1", " 1", "²", "١", "0" * 21, "1" * 5000,
     1.0, True, None, b"1"],
)  # fmt: skip
def test_what_is_no_id_is_refused(value):
    """By the name of what it was passed as."""
    with pytest.raises(UsageError, match=r"^channel_id=.* is not an id$") as caught:
        check_id("channel_id", value)
    assert len(str(caught.value)) < 300


def test_ids_are_taken_each_once():
    """In their order."""
    assert check_ids("guild_ids", iter([3, "1", "3", 2])) == ["3", "1", "2"]
    assert check_ids("guild_ids", []) == []


@pytest.mark.parametrize("values", ["123", b"123", 123, None])
def test_what_is_no_list_of_ids_is_refused(values):
    """Text is a list of characters, and nobody means that."""
    with pytest.raises(UsageError, match="pass a list of them"):
        check_ids("guild_ids", values)
    with pytest.raises(UsageError, match="is not an id"):
        check_ids("guild_ids", [1, "x"])


def query(intents=ALL, **changes):
    """Check a query of guild 5 on shard 2."""
    asked = {
        "query": "", "limit": 0, "user_ids": None, "presences": False, "timeout_s": 10.0,
        "on_rate_limit": "wait",
    }  # fmt: skip
    return check_query(intents, 5, 2, **{**asked, **changes})


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({}, {"query": "", "limit": 0}),
        ({"query": "a", "limit": 1}, {"query": "a", "limit": 1}),
        ({"query": "a", "limit": 100}, {"query": "a", "limit": 100}),
        ({"limit": 1000}, {"query": "", "limit": 1000}),
        ({"presences": True}, {"query": "", "limit": 0, "presences": True}),
        ({"user_ids": [1]}, {"user_ids": ["1"]}),
        ({"user_ids": range(100)}, {"user_ids": [str(i) for i in range(100)]}),
    ],
)
def test_a_query_becomes_the_data_of_its_command(changes, data):
    """Of all members, of those with a prefix, of named ones."""
    asked = query(**changes)
    assert asked.data == {"guild_id": "5", **data}
    assert (asked.guild_id, asked.shard_id) == (5, 2)


@pytest.mark.parametrize(("timeout_s", "how"), [(None, "raise"), (0.1, "wait"), (1, "wait")])
def test_how_it_waits_is_taken_over(timeout_s, how):
    """For ever, or some seconds; for its turn, or not."""
    asked = query(timeout_s=timeout_s, on_rate_limit=how)
    assert (asked.timeout_s, asked.waits) == (timeout_s, how == "wait")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"on_rate_limit": "ignore"}, "on_rate_limit='ignore' is neither"),
        ({"timeout_s": 0}, "timeout_s=0 is not a number of seconds above 0"),
        ({"timeout_s": -1.0}, "timeout_s=-1.0 is not"),
        ({"timeout_s": float("nan")}, "timeout_s=nan is not"),
        ({"timeout_s": "10"}, "timeout_s='10' is not"),
        ({"intents": Intents.GUILD_MEMBERS, "presences": True}, "the intent GUILD_PRESENCES"),
        ({"user_ids": [1], "query": "a"}, "not both"),
        ({"user_ids": [1], "limit": 1}, "not both"),
        ({"user_ids": []}, "^0 user_ids: a request takes 1 to 100"),
        ({"user_ids": range(101)}, "^101 user_ids"),
        ({"query": None}, "query=None is not a str"),
        ({"query": "a"}, "limit=0: a query gives 1 to 100"),
        ({"query": "a", "limit": 101}, "limit=101: a query gives"),
        ({"limit": -1}, "limit=-1 is not a number of members"),
        ({"limit": True}, "limit=True is not a number of members"),
        ({"limit": 1.0}, "limit=1.0 is not a number of members"),
        ({"intents": Intents.GUILD_PRESENCES}, "only with the intent GUILD_MEMBERS"),
    ],
)
def test_what_no_answer_can_come_to_is_refused(changes, said):
    """When it is asked, not when a minute has passed."""
    with pytest.raises(UsageError, match=said):
        query(**changes)


def test_without_its_intent_some_members_may_be_asked_for():
    """By a prefix, or by their ids."""
    assert query(Intents(0), query="a", limit=5).data["limit"] == 5
    assert query(Intents(0), user_ids=[1]).data["user_ids"] == ["1"]
