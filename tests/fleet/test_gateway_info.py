"""The answer of GET /gateway/bot as a value."""

from __future__ import annotations

import pytest

from fastgw.errors import GatewayInfoError
from fastgw.fleet.gateway_info import GatewayInfo, SessionStartLimit


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
