"""
What it costs, and brings, that the work of a turn of the loop is bounded.

A burst of events over plain ws to 32 shards at once, with a handler that looks into each event,
once with the bound and once without; meanwhile a task that wants to run every millisecond notes its
longest wait.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from fastgw import Gateway, GatewayInfo, Intents
from fastgw.fleet import fleet as fleet_module
from fastgw.fleet.identify import LocalIdentifyQueue

from .child import Child, loop_run
from .service import say

SHARDS = 32
PLAIN_BYTES = 15_000_000
ROUNDS = 3


async def measure(url: str, bound_s: float | None, compress: str) -> None:
    """Come up, and tell what the burst was like."""
    if bound_s is not None:
        fleet_module.TURN_S = bound_s
    gateway = Gateway(
        "not.a.token",
        intents=Intents.all(),
        shards=SHARDS,
        info=GatewayInfo(url),
        compress=compress,
        identify_queue=LocalIdentifyQueue(SHARDS, interval_s=0.01, padding_s=(0.0, 0.0)),
    )
    seen, last, worst = 0, 0.0, 0.0

    @gateway.on("*")
    def count(event: Any) -> None:
        nonlocal seen
        seen += event.data is not None

    async def tick() -> None:
        nonlocal last, worst
        last = time.perf_counter()
        while True:
            now = time.perf_counter()
            last, worst = now, max(worst, now - last)
            await asyncio.sleep(0.001)

    async with gateway:
        say(up=True)
        ticking = asyncio.ensure_future(tick())
        told = json.loads(
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        )
        end, cpu = seen + told["events"], time.process_time()
        while seen < end:  # noqa: ASYNC110 - it costs the same in both
            await asyncio.sleep(0.005)
        cpu = time.process_time() - cpu
        ticking.cancel()
        say(
            ns_each=cpu / told["events"] * 1e9,
            worst_wait_ms=worst * 1000,
            cut=gateway.health().turns_cut,
        )


def main(rounds: int = ROUNDS) -> None:
    """Alternate the two, and print the medians."""
    found: dict[str, list[dict[str, Any]]] = {"bounded": [], "unbounded": []}
    for _ in range(rounds):
        for name, bound_s in (("bounded", None), ("unbounded", 1e9)):
            with Child(
                "service", max_concurrency=SHARDS, identify_interval_s=0.0, tls=False
            ) as service:
                job = {"url": service.said["url"], "bound_s": bound_s, "compress": "none"}
                with Child("turns", **job) as client:
                    sent = service.ask("queue", plain_bytes=PLAIN_BYTES)
                    client.tell("count", events=sent["events"])
                    service.tell("flush")
                    found[name].append(client.listen())
                    service.listen()
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    for name, run in medians.items():
        print(
            f"{name:10} {run['ns_each']:6.0f} ns of CPU an event, longest wait of another task "
            f"{run['worst_wait_ms']:6.1f} ms, cut {run['cut']:.0f} times"
        )
    ratio = medians["bounded"]["ns_each"] / medians["unbounded"]["ns_each"]
    print(f"ratio of the cost: {ratio:.3f}")


if __name__ == "__main__":
    loop_run(measure(**json.loads(sys.argv[1])))
