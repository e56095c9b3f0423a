"""
`Decoder.feed` by itself: no socket, no compression, messages one after the other in batches.

The baseline is a compiled method with the same signature that does nothing, called the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from typing import Any

import orjson
import pytest

from fastgw import UsageError
from fastgw._decode import Decoder, Interests
from fastgw.testing import Recording

from .rig import inprocess
from .rig.comparison import Comparison, Target
from .rig.inprocess import later
from .rig.replay import replayed_cpu_time

_TEXT = 1
_OTHER = "INTERACTION_CREATE"
EMPTY = "empty method"
DROPPED = "fastgw, dropped"
DELIVERED = "fastgw, delivered undecoded"

# Names a file that `fastgw record` wrote, and how many of its messages are taken.
RECORDING = "FASTGW_BENCH_RECORDING"
_RECORDED = 20_000

# Event, size in bytes to look for, distinct messages, messages of a batch.
_KINDS = (
    ("PRESENCE_UPDATE", 350, 200, 20_000),
    ("TYPING_START", 700, 200, 20_000),
    ("MESSAGE_CREATE", 1_000, 200, 20_000),
    ("GUILD_CREATE", 79_000, 10, 300),
    ("GUILD_CREATE", 250_000, 3, 100),
)


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return a comparison for each kind of message, and one for a recording if there is one."""
    compared = [_comparison(size, *kind) for kind in _KINDS]
    if path := os.environ.get(RECORDING):
        compared.append(_recorded(size, path))
    return compared


def _recorded(size: Any, path: str) -> Comparison:
    """Return a comparison on what `fastgw record` wrote: the beginning of one's own traffic."""
    recorded = list(islice(Recording(path), _RECORDED))
    texts = [item.message for item in recorded]
    names = {item.dispatch.name for item in recorded}
    if not texts:
        raise UsageError(f"{path} holds no message")

    def entrant(make: Callable[[], Callable[[bytes], Any]], use: Callable[..., int]) -> Any:
        def prepare() -> Callable[[], int]:
            feed = make()
            return lambda: use(feed, texts)

        return later(prepare, len(texts))

    return Comparison(
        name=f"feed {os.path.basename(path)}, {len(texts)} messages",
        baseline=(EMPTY, DROPPED),
        entrants={
            EMPTY: entrant(lambda: inprocess.floor_module("").Empty().feed, _call),
            DROPPED: entrant(lambda: _feed({"NOTHING"}), _call),
            DELIVERED: entrant(lambda: _feed(names), _call),
            "orjson.loads of the message": entrant(lambda: orjson.loads, _parse_any),
        },
        rounds=size.batches,
    )


def _comparison(size: Any, name: str, wanted_size: int, count: int, batch: int) -> Comparison:
    batch = batch if size.batches > 3 else max(count, batch // 20)

    def batched() -> list[bytes]:
        found = inprocess.messages(name, wanted_size, count)
        return (found * (batch // count + 1))[:batch]

    def entrant(make: Callable[[], Callable[[bytes], Any]], use: Callable[..., int]) -> Any:
        def prepare() -> Callable[[], int]:
            feed, texts = make(), batched()
            return lambda: use(feed, texts)

        return later(prepare, batch)

    def empty() -> Any:
        return inprocess.floor_module("").Empty().feed

    entrants = {
        EMPTY: entrant(empty, _call),
        DROPPED: entrant(lambda: _feed({_OTHER}), _call),
        DELIVERED: entrant(lambda: _feed({name}), _call),
        "fastgw, name and guild_id": entrant(lambda: _feed({name}), _read_envelope),
        "fastgw, event.data": entrant(lambda: _feed({name}), _read_data),
        "orjson.loads of the message": entrant(lambda: orjson.loads, _parse),
    }
    targets = (Target(DROPPED, 2.0, of=EMPTY), Target(DELIVERED, 5.0, of=EMPTY))
    return Comparison(
        name=f"feed {name}, {wanted_size} B",
        baseline=(EMPTY, DROPPED),
        entrants=entrants,
        rounds=size.batches,
        # The promise is about events of a thousand bytes.
        targets=targets if name == "MESSAGE_CREATE" else (),
    )


def _feed(names: set[str]) -> Callable[..., Any]:
    return Decoder(interests=Interests(names)).feed


def _call(feed: Callable[..., Any], texts: list[bytes]) -> int:
    for text in texts:
        feed(text, _TEXT, True)
    return len(texts)


def _read_envelope(feed: Callable[..., Any], texts: list[bytes]) -> int:
    total = 0
    for text in texts:
        event = feed(text, _TEXT, True)
        event.name  # noqa: B018 - read, as a router would
        total += event.guild_id or 0
    return total


def _read_data(feed: Callable[..., Any], texts: list[bytes]) -> int:
    total = 0
    for text in texts:
        total += len(feed(text, _TEXT, True).data)
    return total


def _parse(loads: Callable[[bytes], Any], texts: list[bytes]) -> int:
    total = 0
    for text in texts:
        message = loads(text)
        if message["op"] == 0 and message["t"] is not None:
            total += len(message["d"])
    return total


def _parse_any(loads: Callable[[bytes], Any], texts: list[bytes]) -> int:
    return sum(loads(text)["op"] == 0 for text in texts)


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_feed(case, replay):
    """Replay the CPU seconds by message of one way to take it."""
    replay(case)
