"""
Traffic over 1,024 connections: CPU of an event beside that of a bare compiled listener.

    python -m bench.many traffic [--connections N] [--rounds N] [--wakeups N] [--seconds N]

Every session gets 1, 4 or 16 events at a time, over TLS with zlib-stream, and its connection wakes
up for them once. One event in fifty has a handler. Client and floor are processes of their own,
each with a service of its own that sends the same; all are up from the beginning to the end, and
take turns of a second or so, now one first and now the other. So a ratio is of neighbours in time:
the machine may be twice as fast a minute later, and is not between the two.

A fleet also looks at all its shards once a second, whatever comes. `ready` is about that; here the
looks are timed and taken off, and the ratio with them is printed beside. What it costs to be asked
for the count is nobody's, and not counted.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..floor import Floors
from .child import Child
from .ready import COUNT

AT_A_TIME = (1, 4, 16)
WAKEUPS = 4  # of each connection, a turn
ROUNDS = 40
SECONDS = 240.0
PROMISED = 1.25


@dataclass(frozen=True)
class Turn:
    """
    What one side did in one turn.

    Attributes:
        cpu_s: CPU seconds.
        looks_s: those of them that went into looking at all shards.
        events: how many came.
    """

    cpu_s: float
    looks_s: float
    events: int

    def event_s(self, *, with_looks: bool = False) -> float:
        """Return the CPU seconds of an event."""
        return (self.cpu_s - (0.0 if with_looks else self.looks_s)) / self.events


class Side:
    """A client and the service it is connected to."""

    def __init__(self, service: Child, client: Child) -> None:
        self._service = service
        self._client = client

    def wait(self, messages: int) -> dict[str, Any]:
        """Ask until so many are there."""
        while True:
            answer = self._client.ask("count")
            if answer["messages"] >= messages:
                return answer
            time.sleep(0.05)

    def take(self, wakeups: int, at_a_time: int) -> Turn:
        """Receive events."""
        before = self._client.ask("count")
        sent = self._service.ask("pace", events=wakeups * at_a_time, at_a_time=at_a_time)["events"]
        after = self.wait(before["messages"] + sent)
        looks_s = after.get("looks_s", 0.0) - before.get("looks_s", 0.0)
        return Turn(after["cpu_s"] - before["cpu_s"], looks_s, sent)


@contextmanager
def started(module: str, count: int, job: dict[str, Any]) -> Iterator[Side]:
    """Bring up a side, with all its connections READY."""
    # Nobody has to wait for a turn here, and the floor sends no heartbeats.
    limits = {"max_concurrency": 4 * count, "identify_interval_s": 0.01, "replay_limit": 16}
    with (
        Child("service", heartbeat_interval_ms=600_000, **limits) as service,
        Child(module, count=count, **service.said, **job) as client,
    ):
        side = Side(service, client)
        side.wait(2 * count)  # HELLO and READY
        yield side


def main() -> None:
    """Measure, and print what was promised beside what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.many traffic", allow_abbrev=False)
    parser.add_argument("--connections", type=int, default=COUNT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--wakeups", type=int, default=WAKEUPS, help="of each connection, a turn (4)"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="no further round begins after that many"
    )
    options = parser.parse_args(sys.argv[2:])
    floors = Floors()
    if problem := floors.problem("libz"):
        raise SystemExit(problem)
    begun, count = time.monotonic(), options.connections
    wants = {"max_concurrency": 4 * count, "interval_s": 0.01, "wanted": "INTERACTION_CREATE"}
    turns: dict[int, list[tuple[Turn, Turn]]] = {kind: [] for kind in AT_A_TIME}
    with (
        started("compiled", count, {"floors": str(floors.directory)}) as floor,
        started("fleet", count, wants) as ours,
    ):
        say(begun, f"{count} connections each")
        for number in range(-1, options.rounds):  # the first only warms up
            if number > 0 and time.monotonic() > begun + options.seconds:
                break
            for kind in AT_A_TIME:
                if number % 2:
                    second = ours.take(options.wakeups, kind)
                    first = floor.take(options.wakeups, kind)
                else:
                    first = floor.take(options.wakeups, kind)
                    second = ours.take(options.wakeups, kind)
                if number >= 0:
                    turns[kind].append((first, second))
            if number >= 0:
                said = (f"{kind}: {ratios(turns[kind][-1:])[0]:.2f}" for kind in AT_A_TIME)
                say(begun, f"round {number + 1} of {options.rounds}: {', '.join(said)}")
    rounds = len(turns[AT_A_TIME[0]])
    print(f"{count} connections, {rounds} rounds, CPU an event; promised: at most {PROMISED}")
    for kind, pairs in turns.items():
        print(f"{kind:2} at a time: {summary(pairs)}")


def ratios(pairs: Sequence[tuple[Turn, Turn]], *, with_looks: bool = False) -> list[float]:
    """Return those of each round, the least first."""
    return sorted(
        ours.event_s(with_looks=with_looks) / floor.event_s(with_looks=with_looks)
        for floor, ours in pairs
    )


def summary(pairs: Sequence[tuple[Turn, Turn]]) -> str:
    """Say the costs, their ratio, how sure that is, and what it means for the promise."""
    floor_s = statistics.median(floor.event_s() for floor, _ in pairs)
    ours_s = statistics.median(ours.event_s() for _, ours in pairs)
    found = ratios(pairs)
    looking = statistics.median(ratios(pairs, with_looks=True))
    said = (
        f"floor {floor_s * 1e6:.2f} us, fastgw {ours_s * 1e6:.2f} us, ratio "
        f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f}; with its looks "
        f"{looking:.2f})"
    )
    if (sure := median_between(found)) is None:
        return f"{said}: too few rounds to tell"
    low, high = sure
    verdict = "met" if high <= PROMISED else "NOT met" if low > PROMISED else "not told apart"
    return f"{said}, 95 % sure: {low:.2f} to {high:.2f}: {verdict}"


def median_between(found: Sequence[float]) -> tuple[float, float] | None:
    """
    Return between which two of the sorted values the median is, with 95 % or more; None: too few.

    Whatever the distribution: each value is above the true median or below it, like a coin.
    """
    count, outside, rank = len(found), 0.0, 0
    while (outside := outside + math.comb(count, rank) / 2**count) <= 0.025:
        rank += 1
    return (found[rank - 1], found[count - rank]) if rank else None


def say(begun: float, what: str) -> None:
    """Say how far it is."""
    print(f"{time.monotonic() - begun:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
