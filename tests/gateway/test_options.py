"""What can never work is refused where it is said, with a UsageError that says what was wrong."""

import math
import time

import pytest
from gateways import TOKEN

from fastgw.errors import UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.stores.sqlite_store import SQLiteSessionStore
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue
from fastgw.gateway import Gateway
from fastgw.protocol.timeouts import Timeouts

NOT_SECONDS = [-1, math.nan, math.inf, "1", None, True, [1]]

GATEWAY = {
    "token": ["", " ", 5, b"abc", [], "Bot "],
    "intents": ["x", None, -1, 1.5, True, math.nan],
    "shards": [0, -1, True, 1.5, math.nan, "x", [], [True], ["0"], None, {0: 1}, b"\0"],
    "compress": ["x", 5, True, [], {}, b"none"],
    "info": [5, "wss://x", {}],
    "api_url": [
        "", 5, None, "x", "ftp://x", "https://", "http://[::1", "https://x y", b"https://x",
        "https://discord.com/api?x=1", "https://x:99999", "https://x\n", "https://me:word@x",
    ],
    "presence": [5, "x", [], {"a": object()}, {"x": "y" * 5_000}],
    "properties": [5, "x", [], {"os": object()}, {"os": 5}, {"os": None}, {5: "linux"}],
    "large_threshold": [0, 49, 251, "x", 1.5, True, math.nan],
    "capabilities": [-1, True, False, 1.5, "x", [], 1 << 64],
    "identify_extra": [[], "", 0, False, 5, "x", ["x"], {5: 1}, {"x": object()}],
    "proxy": [5, "", "x", True, [], {}],
    "http_headers": [5, "x", [], {"": "x"}, {"x": 5}, {5: "x"}],
    "relief_bytes": [0, -1, True, 1.5, "x", math.nan],
    "timeouts": [5, {}, "x"],
    "ssl_context": [5, "x", True],
    "store": [5, "x", object(), True, type("Store", (), {"open": print, "is_durable": True})],
    "identify_queue": [5, "x", object(), True, LocalIdentifyQueue],
    "backoff_s": [5, (0, 1), (1, 0), (math.nan, 1), (1, math.inf), (True, True), (1,), ("1", "2")],
    "on_fatal": ["x", 5, None, [], True],
    "drain_s": NOT_SECONDS,
    "random": [5, "x", None],
    "early_heartbeat": [None, 0, 1, "x"],
    "limits": [5, {}, "x"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GATEWAY.items() for value in values]
)
def test_a_gateway_refuses_what_cannot_work(name, value):
    """By its constructor, and not in the middle of the night."""
    options = {"token": TOKEN, "intents": 0, name: value}
    if name == "token":
        with pytest.raises(UsageError):
            Gateway(value, intents=0)
        return
    with pytest.raises(UsageError):
        Gateway(**options)


@pytest.mark.parametrize("name", Timeouts.__slots__)
@pytest.mark.parametrize("value", [0, *NOT_SECONDS])
def test_timeouts_refuse_what_is_no_time(name, value):
    """Each of them, also None: there is no phase without an end."""
    with pytest.raises(UsageError, match=name):
        Timeouts(**{name: value})


QUEUES = [
    *[{"max_concurrency": value} for value in (0, -1, "x", 1.5, True, math.nan)],
    *[{"interval_s": value} for value in NOT_SECONDS],
    *[{"padding_s": value} for value in (5, (1,), (2, 1), (-1, 1), (math.nan, 1), ("a", "b"))],
    *[{"padding_s": value} for value in ((True, True), (0, math.inf), (0, 1, 2), None)],
    *[{"reserve": value} for value in (-1, "x", 1.5, True, math.nan)],
    *[{"clock": value} for value in (5, 0, "x", True)],
    *[{"random": value} for value in (5, 0, "x", None)],
]


@pytest.mark.parametrize("options", QUEUES, ids=str)
def test_identify_queues_refuse_what_cannot_work(options, tmp_path):
    """That of one process and that of a machine alike."""
    with pytest.raises(UsageError):
        LocalIdentifyQueue(**options)
    with pytest.raises(UsageError):
        SQLiteIdentifyQueue(tmp_path / "queue.db", **options)


@pytest.mark.parametrize("sleep", [5, 0, "x", None])
def test_a_queue_refuses_to_wait_by_nothing(sleep):
    """It is called for every turn."""
    with pytest.raises(UsageError, match="sleep="):
        LocalIdentifyQueue(sleep=sleep)


@pytest.mark.parametrize("clock", [5, 0, False, "x", time.monotonic])
def test_stores_refuse_what_is_no_clock_of_the_machine(clock, tmp_path):
    """Also one of seconds alone: which boot they are of belongs to it."""
    with pytest.raises(UsageError, match="clock="):
        SQLiteSessionStore(tmp_path / "sessions.db", clock=clock)


@pytest.mark.parametrize(
    "options",
    [
        *[{"url": url} for url in ("", 5, None, "x", "http://x", "ws://", "ws://[::1", b"ws://x")],
        *[{"url": "ws://x", "shards": shards} for shards in (0, -1, True, "x", 1.5, 10**9)],
        {"url": "ws://x", "session_start_limit": 5},
    ],
    ids=str,
)
def test_gateway_information_refuses_what_cannot_work(options):
    """Whoever makes it up himself."""
    with pytest.raises(UsageError):
        GatewayInfo(**options)
