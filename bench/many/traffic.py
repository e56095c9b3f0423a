"""
Traffic over 1,024 connections: CPU of an event beside that of a bare compiled listener.

    python -m bench.many traffic [--connections N] [--rounds N] [--events N] [--seconds N]

Every session gets 1, 4 or 16 events at a time, over TLS with zlib-stream, and its connection wakes
up for them once. One event in fifty has a handler. Client and floor are processes of their own and
take turns; the ratio is that of each round.

A fleet also lives: it looks at all its shards once a second, whatever comes. `ready` is about that;
here it is taken off, by what an idle second costs before the traffic, and the ratio with it is
printed beside. What it costs to be asked for the count is nobody's, and not counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from ..floor import Floors
from .child import Child
from .ready import COUNT

AT_A_TIME = (1, 4, 16)
EVENTS = 64  # a session gets, of each kind
ROUNDS = 5
SECONDS = 240.0
IDLE_S = 3.0


@dataclass(frozen=True)
class Cost:
    """
    What events cost one client.

    Attributes:
        event_s: CPU seconds of an event.
        with_life_s: the same with what the client does every second anyway.
    """

    event_s: float
    with_life_s: float


def main() -> None:
    """Measure, and print what was promised beside what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.many traffic", allow_abbrev=False)
    parser.add_argument("--connections", type=int, default=COUNT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--events", type=int, default=EVENTS, help="a session gets, of each kind")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="no further round begins after that many"
    )
    options = parser.parse_args(sys.argv[2:])
    floors = Floors()
    if problem := floors.problem("libz"):
        raise SystemExit(problem)
    begun, count = time.monotonic(), options.connections
    rounds: list[tuple[dict[int, Cost], dict[int, Cost]]] = []
    while len(rounds) < options.rounds and (
        not rounds or time.monotonic() < begun + options.seconds
    ):
        # Nobody has to wait for a turn here, and the floor sends no heartbeats.
        limits = {"max_concurrency": 4 * count, "identify_interval_s": 0.01}
        wants = {"max_concurrency": 4 * count, "interval_s": 0.01, "wanted": "INTERACTION_CREATE"}
        found = []
        for module, more in (("compiled", {"floors": str(floors.directory)}), ("fleet", wants)):
            say(begun, f"round {len(rounds) + 1} of {options.rounds}: {module}, {count} connect")
            with (
                Child("service", heartbeat_interval_ms=600_000, **limits) as service,
                Child(module, count=count, **service.said, **more) as client,
            ):
                wait(client, 2 * count)  # HELLO and READY
                life = living(client)
                found.append(
                    {kind: cost(service, client, options.events, kind, life) for kind in AT_A_TIME}
                )
        rounds.append((found[0], found[1]))
        say(begun, "; ".join(f"{kind}: {ratio(rounds[-1:], kind)}" for kind in AT_A_TIME))
    print(f"{count} connections, {len(rounds)} rounds, CPU an event")
    for kind in AT_A_TIME:
        floor = statistics.median(floor[kind].event_s for floor, _ in rounds) * 1e6
        ours = statistics.median(ours[kind].event_s for _, ours in rounds) * 1e6
        print(
            f"{kind:2} at a time: floor {floor:.2f} us, fastgw {ours:.2f} us, ratio "
            f"{ratio(rounds, kind)}; promised: at most 1.25"
        )


def ratio(rounds: list[tuple[dict[int, Cost], dict[int, Cost]]], kind: int) -> str:
    """Say the median of the ratios, the least and the most of them, and the median with living."""
    pairs = [(floor[kind], ours[kind]) for floor, ours in rounds]
    ratios = sorted(ours.event_s / floor.event_s for floor, ours in pairs)
    living = statistics.median(ours.with_life_s / floor.with_life_s for floor, ours in pairs)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return f"{statistics.median(ratios):.2f} ({spread}; with living {living:.2f})"


def say(begun: float, what: str) -> None:
    """Say how far it is."""
    print(f"{time.monotonic() - begun:5.0f} s  {what}", file=sys.stderr, flush=True)


def living(client: Child) -> float:
    """Return the CPU seconds of a second in which nothing comes."""
    before, began = client.ask("count"), time.monotonic()
    time.sleep(IDLE_S)
    after = client.ask("count")
    return float(after["cpu_s"] - before["cpu_s"]) / (time.monotonic() - began)


def cost(service: Child, client: Child, events: int, at_a_time: int, life: float) -> Cost:
    """Send every session its events; `life` is what the client costs in a second anyway."""
    before, began = client.ask("count"), time.monotonic()
    sent = service.ask("pace", events=events, at_a_time=at_a_time)["events"]
    after = wait(client, before["messages"] + sent)
    spent = float(after["cpu_s"] - before["cpu_s"])
    lived = life * (time.monotonic() - began)
    return Cost((spent - lived) / sent, spent / sent)


def wait(client: Child, messages: int) -> dict[str, Any]:
    """Ask until they are there."""
    while True:
        answer = client.ask("count")
        if answer["messages"] >= messages:
            return answer
        time.sleep(0.05)


if __name__ == "__main__":
    main()
