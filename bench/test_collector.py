"""
What Python's garbage collector costs a bot that keeps what it decodes, and what helps.

Without a socket: `event.data` of the usual mix, of which the newest are kept in a cache, beside a
heap of some size, as start-up leaves it. The cost is the user's cache, not the decoding: where
nothing is kept, nothing is collected.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from fastgw._decode import Decoder, Interests

from .rig import inprocess
from .rig.comparison import Comparison
from .rig.inprocess import later
from .rig.replay import replayed_cpu_time

_TEXT = 1
_HEAP = 100_000  # small lists that were there before
_DEFAULT = "as Python is set up"
_heap: list[list[object]] = []


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return a comparison for each size of the cache."""
    return [_comparison(size, kept) for kept in (0, 20_000)]


def _comparison(size: Any, kept: int) -> Comparison:
    batch = 40_000 if size.batches > 3 else 2_000

    def entrant(prepare: Callable[[], object]) -> Any:
        return later(lambda: _decoding(prepare, kept, batch), batch)

    return Comparison(
        name=f"garbage collector, {kept} events kept",
        baseline=(_DEFAULT,),
        entrants={
            _DEFAULT: entrant(lambda: None),
            "gc.freeze() after start-up": entrant(gc.freeze),
            "gc.set_threshold(50_000)": entrant(lambda: gc.set_threshold(50_000)),
            "gc.disable()": entrant(gc.disable),
        },
        rounds=min(size.batches, 5),
    )


def _decoding(prepare: Callable[[], object], kept: int, batch: int) -> Callable[[], int]:
    if not _heap:
        _heap.extend([n] for n in range(_HEAP))
    texts = inprocess.mix(4_000)
    interests = Interests()
    interests.want_everything()
    feed = Decoder(interests=interests).feed

    def run() -> int:
        cache: deque[Any] = deque(maxlen=kept)
        threshold = gc.get_threshold()
        gc.collect()
        prepare()
        try:
            for i in range(batch):
                cache.append(feed(texts[i % 4_000], _TEXT, True).data)
        finally:
            gc.enable()
            gc.unfreeze()
            gc.set_threshold(*threshold)
        return len(cache)

    return run


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_collector(case, replay):
    """Replay the CPU seconds by event under one setting."""
    replay(case)
