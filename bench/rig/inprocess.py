"""What the comparisons without a socket share: timed batches, and typical messages."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from fastgw.testing.traffic.traffic import Traffic, encode

from ..floor import Floors
from .comparison import Measure, UnavailableError

SEED = 20_250_101


def timed(run: Callable[[], int], batch: int) -> Measure:
    """
    Return a measure of a batch.

    Args:
        run: does the batch and returns a number to check; called once before it is timed.
        batch: how many events it is for.
    """

    def measure() -> tuple[float, dict[str, Any]]:
        expected = run()
        start = time.process_time()
        result = run()
        taken = time.process_time() - start
        assert result == expected, f"the batch gave {result}, and {expected} before"
        return taken / batch, {"batch": batch}

    return measure


def later(make: Callable[[], Callable[[], int]], batch: int) -> Measure:
    """Like `timed`, for what must be set up first, and not while tests are collected."""
    made: list[Measure] = []

    def measure() -> tuple[float, dict[str, Any]]:
        if not made:
            made.append(timed(make(), batch))
        return made[0]()

    return measure


@cache
def floors() -> Floors:
    """The compiled floors."""
    return Floors()


def floor_module(kind: str) -> Any:
    """
    Import a compiled floor, built if need be; "" is what they share.

    Raises:
        UnavailableError: it cannot be built here.
    """
    built = floors()
    if problem := built.problem(kind) if kind else built.shared_problem():
        raise UnavailableError(problem)
    if str(built.directory) not in sys.path:
        sys.path.append(str(built.directory))
    return importlib.import_module(f"bench_floor_{kind}" if kind else "bench_floor")


@cache
def messages(name: str, size: int, count: int) -> list[bytes]:
    """Return messages of one event name, those nearest to a size in bytes, in sequence."""
    traffic = Traffic(SEED, guilds=max(60, count * 3) if name == "GUILD_CREATE" else 60)
    if name == "GUILD_CREATE":
        made = traffic.startup()
    else:
        made = [traffic.dispatch(name) for _ in range(count * 3)]
    nearest = sorted(made, key=lambda dispatch: abs(len(dispatch.data) - size))[:count]
    return [encode(d.name, s, d.data) for s, d in enumerate(nearest, 1)]


@cache
def mix(count: int) -> list[bytes]:
    """Return messages of the usual mix, in sequence."""
    made = Traffic(SEED, guilds=60).dispatches(count)
    return [encode(d.name, s, d.data) for s, d in enumerate(made, 1)]
