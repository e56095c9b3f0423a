"""What a fake service can never do is refused by its constructor, not in the midst of a test."""

from __future__ import annotations

import math

import pytest

from fastgw.errors import UsageError
from fastgw.testing import FakeGateway, FakeService

NO_COUNT = [-1, 1.5, True, "5", None, math.nan]
NO_TIME = [-1, True, "5", math.nan, [1]]

REFUSED = {
    "token": [5, b"x", ""],
    "heartbeat_interval_ms": [0, None, math.inf, *NO_TIME],
    "heartbeat_patience": [0, *NO_TIME],
    "allowed_intents": [-1, "x", 1.5, True],
    "shard_counts": [5, "1", True],
    "recommended_shards": [0, *NO_COUNT],
    "max_concurrency": [0, *NO_COUNT],
    "identify_interval_s": [None, *NO_TIME],
    "identifies_total": NO_COUNT,
    "session_ttl_s": [None, *NO_TIME],
    "replay_limit": NO_COUNT,
    "replay_limit_bytes": NO_COUNT,
    "replay_overlap": NO_COUNT,
    "first_sequence": NO_COUNT,
    "guilds": [5, "x", b"x", None, ["x"]],
    "resume_url": [5, b"ws://x", True],
    "members": [5, "x", [], None],
    "members_per_chunk": [0, *NO_COUNT],
    "members_interval_s": [None, *NO_TIME],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_a_service_refuses_what_cannot_work(name, value):
    """With the name of the option."""
    with pytest.raises(UsageError, match=name):
        FakeService(**{name: value})


def test_a_gateway_hands_its_options_on():
    """What refuses is the service; the way in is another."""
    with pytest.raises(UsageError, match="max_concurrency"):
        FakeGateway(max_concurrency=0)
