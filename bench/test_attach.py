"""
Bots of other libraries, on their own gateway and on fastgw's: CPU of the process by event.

One listener (interactions) or all of them, caches off as far as the library lets one; in bursts,
with the socket full, and paced, one event a wake-up. A live shard lies between the two. Over wss on
asyncio's loop, which is what `bot.run()` gives.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from .entrants import DISCORD_PY, HIKARI, Entrant
from .plan import EVERYTHING, GUILDS, INTERACTIONS, Size
from .rig.comparison import Comparison, Target
from .rig.endtoend import RunnerLater, measure_of
from .rig.replay import replayed_cpu_time
from .rig.streams import Workload

# At most so much of the library's own gateway: few listeners, all, start-up; in bursts and paced.
PROMISED = {
    "few, bursts": 0.15,
    "few, paced": 0.5,
    "all, bursts": 0.85,
    "all, paced": 0.95,
    "startup": 1.05,
}


def comparisons(size: Size, runner: RunnerLater) -> list[Comparison]:
    """Return a comparison for each library and way of traffic."""
    bursts = Workload("steady", size.events, min(size.guilds, size.events))
    paced = Workload("paced slowly", size.paced, min(size.guilds, size.events), per_second=2_000)
    startup = Workload("startup", size.large_burst + 1, burst=True)
    ways = {
        "few, bursts": (bursts, INTERACTIONS),
        "few, paced": (paced, INTERACTIONS),
        "all, bursts": (bursts, EVERYTHING),
        "all, paced": (paced, EVERYTHING),
        "startup": (startup, GUILDS),
    }
    return [
        _comparison(library, stock, loop, way, *ways[way], size.rounds, runner)
        for library, stock in (("discord.py", DISCORD_PY), ("hikari", HIKARI))
        for loop in ("asyncio", "uvloop")
        for way in ways
        if loop == "asyncio" or way.startswith("few")
    ]


def _comparison(
    library: str,
    stock: Entrant,
    loop: str,
    way: str,
    workload: Workload,
    wanted: frozenset[str] | None,
    rounds: int,
    runner: RunnerLater,
) -> Comparison:
    own = replace(stock, label="its own gateway", loop="asyncio" if loop == "asyncio" else "")
    ours = replace(own, label="attached", options={**own.options, "attached": True})
    return Comparison(
        name=f"attach, {library}, {way}, {loop}, zstd, TLS",
        entrants={
            entrant.label: measure_of(entrant, workload, "zstd", True, wanted, runner)
            for entrant in (own, ours)
        },
        baseline=(own.label,),
        rounds=rounds,
        targets=(Target(ours, PROMISED[way], of=own),) if library == "discord.py" else (),
        after=lambda: runner().forget_sessions(),
    )


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_attach(case, replay):
    """Replay the CPU seconds by event of one bot."""
    replay(case)
