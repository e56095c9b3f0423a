"""Which part of a bot runs in this process: what a gateway was not given is filled in."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest

from fastgw.errors import UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.placement import Placement
from fastgw.fleet.settings import FleetOptions

BOT = 100_000_000_000_000_001
TOKEN = f"{base64.b64encode(str(BOT).encode()).decode()}.G.x"
INFO = GatewayInfo("wss://x.gg")


def options(**changes):
    """Those of a gateway that was told nothing but its token."""
    values = dict.fromkeys(FleetOptions._fields)
    values |= {
        "identity": SimpleNamespace(token=TOKEN), "store": "in memory",
        "is_store_chosen": False, "api_url": "https://its.own", "metrics": ("::1", 1),
    }  # fmt: skip
    return FleetOptions(**{**values, **changes})


def filled_in(here=None, **changes):
    placement = {"shard_ids": (2, 3), "shard_count": 8, **(here or {})}
    return Placement(**placement).fill_in(options(**changes), (2, 3), 50.0)


def test_shards_come_from_who_starts_the_process():
    """And metrics are served by that one."""
    filled = filled_in()
    assert (filled.shard_ids, filled.shard_count, filled.metrics) == ((2, 3), 8, None)
    assert (filled.is_shared, filled.answer, filled.store) == (False, None, "in memory")
    assert filled.api_url == "https://its.own"


def test_shards_that_come_and_go_are_shared():
    """Who starts the process says which, while it runs."""
    assert filled_in({"shard_ids": None}).is_shared


@pytest.mark.parametrize(
    ("here", "changes", "store"),
    [
        ({"store": "a file"}, {}, "a file"),
        ({"store": "a file"}, {"is_store_chosen": True}, "in memory"),
        ({"store": "a file", "publishing_store": "careful"}, {}, "a file"),
        ({"store": "a file", "publishing_store": "careful"}, {"publish": 1}, "careful"),
        ({"store": "a file"}, {"publish": 1}, "a file"),
        ({}, {"publish": 1}, "in memory"),
    ],
)
def test_a_store_is_filled_in_where_none_was_named(here, changes, store):
    """Another one for a gateway that publishes, where there is one."""
    assert filled_in(here, **changes).store == store


def test_a_queue_is_filled_in_where_none_was_named():
    """One's own goes before."""
    assert filled_in({"identify_queue": "shared"}).identify_queue == "shared"
    assert filled_in({"identify_queue": "shared"}, identify_queue="own").identify_queue == "own"


def test_where_to_ask_and_what_was_answered_are_filled_in():
    """With the time of the question, or of now."""
    assert filled_in({"api_url": "http://near"}).api_url == "http://near"
    assert filled_in({"info": INFO}).answer == (INFO, 50.0)
    assert filled_in({"info": INFO, "asked_at": 7.0}).answer == (INFO, 7.0)


@pytest.mark.parametrize("bot_id", [None, BOT])
def test_a_part_of_the_same_bot_is_taken(bot_id):
    """Or of one that nobody named."""
    assert filled_in({"bot_id": bot_id}).shard_count == 8
    assert filled_in({"bot_id": 2}, identity=SimpleNamespace(token="t")).shard_count == 8


@pytest.mark.parametrize(
    ("here", "changes", "said"),
    [
        ({"bot_id": 2}, {}, f"the token of bot {BOT}, and who started it runs bot 2"),
        ({}, {"shard_ids": (0,)}, "shards of its own"),
        ({}, {"shard_count": 4}, "shards of its own"),
        ({"is_exclusive": True}, {"is_store_chosen": True}, "a store or an identify queue"),
        ({"is_exclusive": True}, {"identify_queue": "own"}, "a store or an identify queue"),
    ],
)
def test_a_gateway_that_says_otherwise_is_refused(here, changes, said):
    """Two places would decide the same thing."""
    with pytest.raises(UsageError, match=said):
        filled_in(here, **changes)


def test_an_exclusive_placement_takes_a_gateway_that_names_nothing():
    """Those of all processes are filled in."""
    assert filled_in({"is_exclusive": True, "store": "shared"}).store == "shared"
