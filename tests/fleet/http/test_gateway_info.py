"""The answer of GET /gateway/bot as a value."""

from __future__ import annotations

import pytest

from fastgw.errors import GatewayInfoError, UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo, SessionStartLimit


def test_gateway_info_is_read():
    """Milliseconds become seconds, everything else stays."""
    info = GatewayInfo.parse({
        "url": "wss://gateway.discord.gg", "shards": 9,
        "session_start_limit":
            {"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 16},
    })  # fmt: skip
    assert info == GatewayInfo(
        "wss://gateway.discord.gg", 9, SessionStartLimit(1000, 999, 14_400.0, 16)
    )
    assert GatewayInfo.parse({"url": "ws://x"}) == GatewayInfo("ws://x", 1, None)


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ({"max_concurrency": 1}, SessionStartLimit(0, 0, 0.0, 1)),
        ({}, SessionStartLimit(0, 0, 0.0, 1)),  # nobody said that more may go at once
        ({"max_concurrency": 16}, SessionStartLimit(0, 0, 0.0, 16)),
    ],
)
def test_a_limit_may_be_used_up(said, limit):
    """Nothing left, of nothing, from now on."""
    none = {"total": 0, "remaining": 0, "reset_after": 0}
    info = GatewayInfo.parse({"url": "ws://x", "session_start_limit": {**none, **said}})
    assert info.session_start_limit == limit


@pytest.mark.parametrize(
    "data",
    [None, [], "x", 7, {}, {"url": 7}, {"url": "http://x"}, {"url": "ws://x", "shards": 0},
     {"url": "ws://x", "shards": True}, {"url": "ws://x", "session_start_limit": []},
     {"url": "ws://x", "session_start_limit": {"total": 1}},
     {"url": "ws://x", "session_start_limit":
         {"total": 1, "remaining": -1, "reset_after": 0, "max_concurrency": 1}}],
)  # fmt: skip
def test_malformed_gateway_info_is_a_typed_error(data):
    """Whatever a proxy answers, it is one error."""
    with pytest.raises(GatewayInfoError, match="gateway information"):
        GatewayInfo.parse(data)


LIMIT = {"total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1}


@pytest.mark.parametrize(
    "changes",
    [{"shards": 30_000_000}, {"shards": 65_537}, {"shards": 10**400},
     {"url": "wss://x/" + "y" * 9_999},
     {"session_start_limit": {**LIMIT, "reset_after": 10**400}},
     {"session_start_limit": {**LIMIT, "remaining": 2**31}},
     {"session_start_limit": {**LIMIT, "max_concurrency": 10**9}}],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused_before_it_costs_anything(changes):
    """30 million shards took 12 s and 1.2 GB; the text is short whatever the number was."""
    with pytest.raises(GatewayInfoError, match="malformed") as caught:
        GatewayInfo.parse({"url": "wss://x.gg", **changes})
    assert len(str(caught.value)) < 500


def test_the_most_that_anybody_can_mean_is_taken():
    """65,536 shards: 160 million guilds."""
    assert GatewayInfo.parse({"url": "wss://x.gg", "shards": 65_536}).shards == 65_536


@pytest.mark.parametrize(
    "options",
    [{"url": "https://x.gg"}, {"url": ""}, {"url": 7}, {"shards": 0}, {"shards": 10**9},
     {"shards": "1"}, {"session_start_limit": LIMIT}],
)  # fmt: skip
def test_one_made_by_hand_is_checked_as_well(options):
    """It would fail at start(), or at the first connection."""
    with pytest.raises(UsageError):
        GatewayInfo(**{"url": "wss://x.gg", **options})
