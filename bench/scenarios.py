"""How large the comparisons are, and which there are end to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from . import entrants as e
from .comparison import Group, Measure, Target
from .entrants import Entrant
from .runner import Runner
from .streams import LAST, Workload

RunnerLater = Callable[[], Runner]


@dataclass(frozen=True)
class Size:
    """
    Attributes:
        events: of the steady stream.
        burst: guilds of the start-up burst.
        paced: events sent one by one.
        guilds: that the bot knows before the measured part.
        rounds: of each end-to-end entrant.
        batches: rounds of each in-process entrant.
        transports: compression and TLS of the comparisons "steady" and "interactions".
        other_transports: the same of the others.
    """

    events: int = 40_000
    burst: int = 300
    paced: int = 4_000
    guilds: int = 100
    rounds: int = 5
    batches: int = 15
    transports: tuple[tuple[str, bool], ...] = (("zstd", True), ("zlib", True))
    other_transports: tuple[tuple[str, bool], ...] = (("zstd", True),)

    @staticmethod
    def of(quick: bool, full: bool) -> Size:
        """Return the size that the command line asks for."""
        if quick:
            return Size(
                events=2_000,
                burst=20,
                paced=400,
                guilds=10,
                rounds=1,
                batches=3,
                transports=(("zstd", True),),
            )
        if full:
            all_transports = tuple((c, t) for t in (True, False) for c in ("zstd", "zlib", "none"))
            return Size(
                burst=1_000,
                paced=8_000,
                guilds=200,
                rounds=7,
                transports=all_transports,
                other_transports=all_transports,
            )
        return Size()

    def with_rounds(self, rounds: int) -> Size:
        """The same with another number of rounds."""
        return replace(self, rounds=rounds)


@dataclass(frozen=True)
class Contest:
    """
    One end-to-end comparison before it knows compression and TLS.

    Attributes:
        name: of the group.
        workload: what is sent.
        entrants: each with the names it wants (None: all).
        targets: made from the labels of the floors: straight C, and by way of the packages.
    """

    name: str
    workload: Workload
    entrants: tuple[tuple[Entrant, frozenset[str] | None], ...]
    targets: Callable[[str, str], tuple[Target, ...]]


_ONE = frozenset({LAST})
_GUILDS = frozenset({"GUILD_CREATE", LAST})


def contests(size: Size) -> list[Contest]:
    """Return the end-to-end comparisons of this size."""
    known = min(size.guilds, size.events)
    steady = Workload("steady", size.events, known)
    burst = Workload("startup", size.burst + 1, burst=True)
    paced = Workload("paced", size.paced, known, per_second=4_000)
    everyone = (
        e.PICOWS,
        e.PICOWS_SIMDJSON,
        e.AIOHTTP,
        e.WEBSOCKETS,
        e.HIKARI_RAW,
        e.HIKARI,
        e.DISCORD_PY,
    )
    unwanted = replace(e.FASTGW, label="fastgw, GUILD_CREATE unwanted")
    undecoded = replace(e.FASTGW_SEQUENCE, label="fastgw, GUILD_CREATE undecoded")
    named = replace(e.FASTGW_NAMES, label="fastgw, GUILD_CREATE name and guild_id")
    decoded = replace(e.FASTGW_DATA, label="fastgw, GUILD_CREATE event.data")
    return [
        Contest(
            "steady",
            steady,
            tuple((x, None) for x in (e.FASTGW_NAMES, e.FASTGW_DATA, e.FASTGW_ASYNC, *everyone)),
            lambda c, package: (
                Target(e.FASTGW_NAMES.label, 1.6, c),
                Target(e.FASTGW_NAMES.label, 1.6, package),
                Target(e.FASTGW_DATA.label, 0.75, e.PICOWS.label),
                Target(e.FASTGW_DATA.label, 1 / 10, e.DISCORD_PY.label),
                Target(e.FASTGW_DATA.label, 1 / 5, e.HIKARI_RAW.label),
            ),
        ),
        Contest(
            "interactions",
            steady,
            tuple((x, _ONE) for x in (e.FASTGW, e.PICOWS_BYTES, *everyone)),
            lambda c, package: (
                Target(e.FASTGW.label, 1.25, c),
                Target(e.FASTGW.label, 1.25, package),
                Target(e.FASTGW.label, 1 / 12, e.DISCORD_PY.label),
            ),
        ),
        Contest(
            "startup",
            burst,
            ((unwanted, _ONE), *((x, _GUILDS) for x in (undecoded, named, decoded, *everyone))),
            lambda c, package: (
                Target(unwanted.label, 1.2, c),
                Target(unwanted.label, 1.2, package),
                Target(undecoded.label, 1.4, c),
                Target(undecoded.label, 1.4, package),
            ),
        ),
        Contest(
            "paced",
            paced,
            tuple((x, None) for x in (e.FASTGW_NAMES, e.FASTGW_DATA, *everyone)),
            lambda c, package: (
                Target(e.FASTGW_NAMES.label, 1.0, e.PICOWS.label),
                Target(e.FASTGW_DATA.label, 1.0, e.PICOWS.label),
            ),
        ),
    ]


def end_to_end(size: Size, runner: RunnerLater) -> list[Group]:
    """Return the end-to-end groups: every contest over every compression and TLS asked for."""
    return [
        _group(contest, compression, tls, size.rounds, runner)
        for contest in contests(size)
        for compression, tls in (
            size.transports if contest.workload.name == "steady" else size.other_transports
        )
    ]


def _group(
    contest: Contest, compression: str, tls: bool, rounds: int, runner: RunnerLater
) -> Group:
    floors = e.floors(compression)
    entrants = [(floor, None) for floor in floors] + list(contest.entrants)
    measures: dict[str, Measure] = {
        entrant.label: _measure(entrant, contest.workload, compression, tls, wanted, runner)
        for entrant, wanted in entrants
    }
    straight, package = floors[0].label, floors[-1].label
    targets = dict.fromkeys(contest.targets(straight, package))
    return Group(
        name=f"end-to-end {contest.name}, {compression}, {'TLS' if tls else 'plain TCP'}",
        baseline=(straight, package),
        entrants=measures,
        rounds=rounds,
        targets=tuple(targets),
        after=lambda: runner().forget_sessions(),
    )


def _measure(
    entrant: Entrant,
    workload: Workload,
    compression: str,
    tls: bool,
    wanted: frozenset[str] | None,
    runner: RunnerLater,
) -> Measure:
    def measure() -> tuple[float, dict[str, Any]]:
        result = runner().measure(entrant, workload, compression, tls=tls, wanted=wanted)
        extra = {
            "workload": workload.name,
            "events": workload.events,
            "compression": compression,
            "tls": tls,
            "wall_s": round(result["wall_s"], 4),
            "peak_mb": round(result["peak_mb"], 1),
            "version": result.get("version", ""),
        }
        return result["per_event_s"], extra

    return measure
