"""
Bots of other libraries, on their own gateway and on fastgw's: CPU of the process by event.

One listener (interactions) or all of them, caches off as far as the library lets one; in bursts,
with the socket full, and paced, one event a wake-up. A live shard lies between the two. Over wss on
asyncio's loop, which is what `bot.run()` gives. And the start: a burst of guilds (1,000 with
`--full`), and how long until all shards are ready where all of them may identify at once.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest

from .entrants import DISCORD_PY, DISNAKE, HIKARI, NEXTCORD, PYCORD, Entrant
from .plan import EVERYTHING, GUILDS, INTERACTIONS, Size
from .rig.comparison import Comparison, Target
from .rig.endtoend import RunnerLater, measure_of
from .rig.ready import ready_of
from .rig.replay import replayed_cpu_time
from .rig.streams import Workload

# At most so much of the library's own gateway: few listeners, all, start-up; in bursts and paced.
# And of its time until all shards are ready: discord.py identifies one after the other.
PROMISED = {
    "few, bursts": 0.15,
    "few, paced": 0.5,
    "all, bursts": 0.85,
    "all, paced": 0.95,
    "startup": 1.05,
    "ready": 0.07,
}
FAMILY = {"discord.py": DISCORD_PY, "disnake": DISNAKE, "nextcord": NEXTCORD, "py-cord": PYCORD}


def libraries() -> dict[str, Entrant]:
    """Return the library of the family that is installed, discord.py where none is, and hikari."""
    found = [name for name in FAMILY if list(importlib.metadata.distributions(name=name))]
    name = found[0] if found else "discord.py"
    return {name: FAMILY[name], "hikari": HIKARI}


def comparisons(size: Size, runner: RunnerLater) -> list[Comparison]:
    """Return a comparison for each library and way of traffic."""
    bursts = Workload("steady", size.events, min(size.guilds, size.events))
    paced = Workload("paced slowly", size.paced, min(size.guilds, size.events), per_second=2_000)
    startup = Workload("startup", size.burst + 1, burst=True)
    ways = {
        "few, bursts": (bursts, INTERACTIONS),
        "few, paced": (paced, INTERACTIONS),
        "all, bursts": (bursts, EVERYTHING),
        "all, paced": (paced, EVERYTHING),
        "startup": (startup, GUILDS),
    }
    return [
        _comparison(library, stock, loop, way, *ways[way], size.rounds, runner)
        for library, stock in libraries().items()
        for loop in ("asyncio", "uvloop")
        for way in ways
        if loop in size.loops or way.startswith("few")
    ] + [_ready(library, stock, size.shards) for library, stock in libraries().items()]


def _both(stock: Entrant, loop: str) -> tuple[Entrant, Entrant]:
    own = replace(stock, label="its own gateway", loop="asyncio" if loop == "asyncio" else "")
    return own, replace(own, label="attached", options={**own.options, "attached": True})


def _promise(library: str, way: str, own: Entrant, ours: Entrant) -> tuple[Target, ...]:
    return (Target(ours, PROMISED[way], of=own),) if library in FAMILY else ()


def _ready(library: str, stock: Entrant, shards: int) -> Comparison:
    """Nearly all of it is waiting, which no second round makes more exact."""
    own, ours = _both(stock, "asyncio")
    return Comparison(
        name=f"attach, {library}, {shards} shards ready, max_concurrency {shards}",
        entrants={each.label: ready_of(each, library, shards) for each in (own, ours)},
        baseline=(own.label,),
        rounds=1,
        targets=_promise(library, "ready", own, ours),
        figure="wall time",
    )


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
    own, ours = _both(stock, loop)
    compression = "zstd" if stock in (DISCORD_PY, HIKARI) else "zlib"  # all that forks know
    return Comparison(
        name=f"attach, {library}, {way}, {loop}, {compression}, TLS",
        entrants={
            entrant.label: measure_of(entrant, workload, compression, True, wanted, runner)
            for entrant in (own, ours)
        },
        baseline=(own.label,),
        rounds=rounds,
        targets=_promise(library, way, own, ours),
        after=lambda: runner().forget_sessions(),
    )


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_attach(case, replay):
    """Replay the CPU seconds by event of one bot."""
    replay(case)
