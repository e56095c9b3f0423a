"""What IDENTIFY carries, checked when it is made."""

from __future__ import annotations

import copy
import pickle
import traceback

import orjson
import pytest
from pairing import TOKEN, an_identity

from fastgw.errors import CommandTooBig, UsageError
from fastgw.words import Intents


def test_the_least_identity():
    """Without options: token, intents, shard, our properties, no payload compression."""
    data = orjson.loads(an_identity().encode())["d"]
    assert data.pop("properties").keys() == {"os", "browser", "device"}
    assert data == {
        "token": TOKEN, "intents": int(Intents.default()), "shard": [0, 1], "compress": False
    }  # fmt: skip


def test_the_prefix_of_a_token_is_dropped():
    """IDENTIFY wants the raw token."""
    assert an_identity(token=f"Bot {TOKEN}").token == TOKEN


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""}, {"shard_id": 1}, {"shard_id": -1}, {"shard_count": 0},
        {"large_threshold": 49}, {"large_threshold": 251}, {"presence": {"status": {1}}},
        {"identify_extra": {"token": "x"}}, {"identify_extra": {"intents": 0}},
        {"presence": "idle"}, {"properties": [("os", "x")]}, {"identify_extra": {1, 2}},
        {"properties": {"os": 1}}, {"properties": {1: "os"}}, {"large_threshold": "50"},
        {"capabilities": -1}, {"capabilities": True}, {"capabilities": "1"},
        {"capabilities": 1.0},
    ],
)  # fmt: skip
def test_bad_values_are_refused_when_made(changes):
    """Nothing is opened for an IDENTIFY that could not be sent."""
    with pytest.raises(UsageError):
        an_identity(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"capabilities": 0}, {"large_threshold": 50}, {"large_threshold": 250},
        {"shard_id": 7, "shard_count": 8}, {"properties": {}},
    ],
)  # fmt: skip
def test_the_least_and_the_most_are_taken(changes):
    """What stands at a bound is within it, and is said."""
    identity = an_identity(**changes)
    data = orjson.loads(identity.encode())["d"]
    said = {**data, "shard_id": data["shard"][0], "shard_count": data["shard"][1]}
    assert said["properties"]
    assert all(said[name] == value or value == {} for name, value in changes.items())


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({}, "intents", int(Intents.default())),
        ({}, "large_threshold", 50),
        ({"large_threshold": 250}, "large_threshold", 250),
        ({}, "capabilities", 0),
        ({"capabilities": 5}, "capabilities", 5),
        ({"compress_payload": True}, "compress", True),
        ({"identify_extra": {"x": 1}}, "identify_extra", {"x": 1}),
    ],
)
def test_the_terms_of_a_session(changes, name, value):
    """What RESUME cannot change, with what is meant where nothing was said."""
    assert an_identity(**changes).terms()[name] == value


def test_an_identity_too_large_to_send_is_refused_when_made():
    """A presence of kilobytes would close every connection with 4002."""
    with pytest.raises(CommandTooBig):
        an_identity(presence={"activities": [{"name": "x" * 4_000}]})


def test_the_token_shows_nowhere():
    """Not in repr or str, not in an error, not in its traceback."""
    identity = an_identity()
    assert TOKEN not in repr(identity) + str(identity)
    with pytest.raises(UsageError) as caught:
        an_identity(presence={"x": {1}})
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_an_identity_can_be_sent_to_another_process():
    """It is a plain value."""
    identity = an_identity(identify_extra={"x": 1})
    assert pickle.loads(pickle.dumps(identity)) == copy.deepcopy(identity) == identity
