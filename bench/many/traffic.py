"""
Traffic over 1,024 connections: CPU of an event beside that of a bare compiled listener.

Every session gets 1, 4 or 16 events at a time, over TLS with zlib-stream, and its connection wakes
up for them once. One event in fifty has a handler. Client and floor are processes of their own and
take turns; the ratio is that of each round.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from ..floor import Floors
from .child import Child
from .ready import COUNT

AT_A_TIME = (1, 4, 16)
EVENTS = 64  # a session gets, of each kind
ROUNDS = 5


def main(count: int = COUNT, rounds: int = ROUNDS) -> None:
    """Measure, and print what was promised beside what was found."""
    floors = Floors()
    if problem := floors.problem("libz"):
        raise SystemExit(problem)
    found: dict[int, list[tuple[float, float]]] = {kind: [] for kind in AT_A_TIME}
    # Nobody has to wait for a turn here, and the floor sends no heartbeats.
    limits = {"max_concurrency": 4 * count, "identify_interval_s": 0.01}
    for _ in range(rounds):
        both: list[dict[int, float]] = []
        for module, more in (
            ("compiled", {"floors": str(floors.directory)}),
            ("fleet", {**limits, "interval_s": 0.01, "wanted": "INTERACTION_CREATE"}),
        ):
            more.pop("identify_interval_s", None)
            with (
                Child("service", heartbeat_interval_ms=600_000, **limits) as service,
                Child(module, count=count, **service.said, **more) as client,
            ):
                wait(client, 2 * count)  # HELLO and READY
                both.append({kind: cost(service, client, kind) for kind in AT_A_TIME})
        for kind in AT_A_TIME:
            found[kind].append((both[0][kind], both[1][kind]))
    print(f"{count} connections, {rounds} rounds, CPU an event")
    for kind, pairs in found.items():
        ratios = sorted(ours / floor for floor, ours in pairs)
        print(
            f"{kind:2} at a time: floor {statistics.median(f for f, _ in pairs) * 1e6:.2f} us, "
            f"fastgw {statistics.median(o for _, o in pairs) * 1e6:.2f} us, ratio "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}; "
            "promised: at most 1.25)"
        )


def cost(service: Child, client: Child, at_a_time: int) -> float:
    """Send every session its events; return seconds of the client's CPU for one."""
    before = client.ask("count")
    sent = service.ask("pace", events=EVENTS, at_a_time=at_a_time)["events"]
    after = wait(client, before["messages"] + sent)
    return float(after["cpu_s"] - before["cpu_s"]) / sent


def wait(client: Child, messages: int) -> dict[str, Any]:
    """Ask until they are there."""
    while True:
        answer = client.ask("count")
        if answer["messages"] >= messages:
            return answer
        time.sleep(0.05)


if __name__ == "__main__":
    main()
