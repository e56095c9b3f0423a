"""
What is compared end to end, what is promised, and how large it all is.

Each scenario is one stream of events, sent to every client; each client comes with the names that
its bot has handlers for. A target such as `Target(FASTGW, 1.25, of=FLOOR)` is a promise: fastgw's
CPU by event is at most 1.25 times that of the floor, which only receives and decompresses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .entrants import (
    AIOHTTP,
    DISCORD_PY,
    FASTGW,
    FASTGW_ASYNC,
    FASTGW_DATA,
    FASTGW_FIELDS,
    FASTGW_FIELDS_ASYNC,
    FASTGW_GUILDS,
    FASTGW_NAMES,
    FASTGW_READ,
    FASTGW_SEQUENCE,
    FASTGW_WHERE,
    FLOOR,
    HIKARI,
    HIKARI_RAW,
    PACKAGE_FLOOR,
    PICOWS,
    PICOWS_BYTES,
    PICOWS_SIMDJSON,
    TWILIGHT,
    TWILIGHT_FLAGS,
    TWILIGHT_RAW,
    WEBSOCKETS,
    Entrant,
)
from .rig.comparison import Target
from .rig.streams import LAST, Workload

FLOORS = (FLOOR, PACKAGE_FLOOR)
OTHERS = (PICOWS, PICOWS_SIMDJSON, AIOHTTP, WEBSOCKETS, HIKARI_RAW, HIKARI, DISCORD_PY)
RUST = (TWILIGHT_RAW, TWILIGHT, TWILIGHT_FLAGS)

# Every stream has an INTERACTION_CREATE as its last event, which all clients must want.
EVERYTHING = None
INTERACTIONS = frozenset({LAST})
GUILDS = frozenset({"GUILD_CREATE", LAST})


@dataclass(frozen=True)
class Size:
    """
    Attributes:
        events: of the steady stream.
        burst: guilds of the start-up burst.
        paced: events sent one by one.
        guilds: that the bot knows before the measured part.
        shards: of a bot whose start is timed.
        rounds: of each end-to-end entrant.
        batches: rounds of each in-process entrant.
        transports: compression and TLS of the scenarios with the steady stream.
        other_transports: the same of the others.
        loops: of the bots of other libraries, where one would do.
        rust: whether the clients in Rust run, which take minutes to build.
    """

    events: int = 40_000
    burst: int = 300
    paced: int = 4_000
    guilds: int = 100
    shards: int = 8
    rounds: int = 5
    batches: int = 15
    transports: tuple[tuple[str, bool], ...] = (("zstd", True), ("zlib", True))
    other_transports: tuple[tuple[str, bool], ...] = (("zstd", True),)
    loops: tuple[str, ...] = ("asyncio",)
    rust: bool = False

    @staticmethod
    def of(quick: bool, full: bool) -> Size:
        """Return the size that the command line asks for; both is a quick look at all clients."""
        if quick:
            return Size(
                events=2_000,
                burst=20,
                paced=400,
                guilds=10,
                shards=2,
                rounds=1,
                batches=3,
                transports=(("zstd", True),),
                rust=full,
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
                loops=("asyncio", "uvloop"),
                rust=True,
            )
        return Size()

    def with_rounds(self, rounds: int) -> Size:
        """The same with another number of rounds."""
        return replace(self, rounds=rounds)


@dataclass(frozen=True)
class Scenario:
    """
    One comparison end to end, over any compression, with and without TLS.

    Attributes:
        name: of the scenario.
        workload: what is sent.
        entrants: each with the names it wants (EVERYTHING: all).
        targets: what is promised.
        only: the one compression that it is about; "" is all.
    """

    name: str
    workload: Workload
    entrants: tuple[tuple[Entrant, frozenset[str] | None], ...]
    targets: tuple[Target, ...]
    only: str = ""


def scenarios(size: Size) -> tuple[Scenario, ...]:
    """Return the end-to-end comparisons of this size."""
    steady = Workload("steady", size.events, min(size.guilds, size.events))
    paced = Workload("paced", size.paced, min(size.guilds, size.events), per_second=4_000)
    startup = Workload("startup", size.burst + 1, burst=True)
    return (
        _steady(steady, size.rust),
        _interactions(steady, size.rust),
        _forms(steady),
        _package(steady),
        _startup(startup),
        _paced(paced),
    )


def _steady(workload: Workload, rust: bool) -> Scenario:
    """Everything wanted: what an event costs that reaches a handler."""
    return Scenario(
        "steady",
        workload,
        (
            *_all_want(EVERYTHING, FASTGW_NAMES, FASTGW_DATA, FASTGW_ASYNC),
            *((entrant, EVERYTHING) for entrant in (TWILIGHT_RAW, TWILIGHT) if rust),
        ),
        (
            Target(FASTGW_NAMES, 1.6, of=FLOOR),
            Target(FASTGW_NAMES, 1.6, of=PACKAGE_FLOOR),
            Target(FASTGW_DATA, 0.84, of=PICOWS),
            Target(FASTGW_DATA, 1 / 10, of=DISCORD_PY),
            Target(FASTGW_DATA, 1 / 5, of=HIKARI_RAW),
        ),
    )


def _interactions(workload: Workload, rust: bool) -> Scenario:
    """One name wanted out of the same stream: what an event costs that nobody wants."""
    return Scenario(
        "interactions",
        workload,
        (
            *_all_want(INTERACTIONS, FASTGW, PICOWS_BYTES),
            *((entrant, INTERACTIONS) for entrant in RUST if rust),
        ),
        (
            Target(FASTGW, 1.1, of=FLOOR),
            Target(FASTGW, 1.1, of=PACKAGE_FLOOR),
            Target(FASTGW, 1 / 12, of=DISCORD_PY),
        ),
    )


def _forms(workload: Workload) -> Scenario:
    """What a handler costs by its form: the same stream, and no client but ours and one beside."""
    unwanted = replace(FASTGW, label="fastgw, one event in fifty wanted")
    return Scenario(
        "forms",
        workload,
        (
            (unwanted, INTERACTIONS),
            (FASTGW_WHERE, INTERACTIONS),
            *(
                (entrant, EVERYTHING)
                for entrant in (
                    replace(FASTGW_SEQUENCE, label="fastgw, event looked at no further"),
                    FASTGW_FIELDS,
                    FASTGW_READ,
                    FASTGW_NAMES,
                    FASTGW_FIELDS_ASYNC,
                    FASTGW_DATA,
                    FASTGW_ASYNC,
                    PICOWS,
                )
            ),
        ),
        (
            Target(unwanted, 1.1, of=FLOOR),
            Target(FASTGW_WHERE, 1.3, of=FLOOR),
            Target(FASTGW_FIELDS, 1.55, of=FLOOR),
            Target(FASTGW_READ, 1.7, of=FLOOR),
            Target(FASTGW_DATA, 0.84, of=PICOWS),
        ),
        only="zstd",
    )


def _package(workload: Workload) -> Scenario:
    """The same where no libzstd was found at build time: the Python package decompresses."""

    def with_package(entrant: Entrant, label: str = "") -> Entrant:
        return replace(
            entrant,
            label=f"{label or entrant.label} (package)",
            options=entrant.options | {"zstd": "package"},
        )

    unwanted = with_package(FASTGW, "fastgw, one event in fifty wanted")
    rejected = with_package(FASTGW_WHERE)
    everything = [with_package(each) for each in (FASTGW_FIELDS, FASTGW_READ, FASTGW_NAMES)]
    data = with_package(FASTGW_DATA)
    return Scenario(
        "package",
        workload,
        (
            (unwanted, INTERACTIONS),
            (rejected, INTERACTIONS),
            *((entrant, EVERYTHING) for entrant in (*everything, data, PICOWS)),
        ),
        (Target(unwanted, 1.1, of=PACKAGE_FLOOR), Target(data, 0.91, of=PICOWS)),
        only="zstd",
    )


def _startup(workload: Workload) -> Scenario:
    """The burst of guilds after READY: large events, dropped, delivered and decoded."""
    unwanted = replace(FASTGW, label="fastgw, GUILD_CREATE unwanted")
    undecoded = replace(FASTGW_SEQUENCE, label="fastgw, GUILD_CREATE undecoded")
    named = replace(FASTGW_NAMES, label="fastgw, GUILD_CREATE name and guild_id")
    decoded = replace(FASTGW_DATA, label="fastgw, GUILD_CREATE event.data")
    return Scenario(
        "startup",
        workload,
        ((unwanted, INTERACTIONS), *_all_want(GUILDS, undecoded, FASTGW_GUILDS, named, decoded)),
        (
            Target(unwanted, 1.12, of=FLOOR),
            Target(unwanted, 1.12, of=PACKAGE_FLOOR),
            Target(FASTGW_GUILDS, 1.25, of=FLOOR),
            Target(undecoded, 1.4, of=FLOOR),
            Target(undecoded, 1.4, of=PACKAGE_FLOOR),
        ),
    )


def _paced(workload: Workload) -> Scenario:
    """One event at a time: what waking up costs."""
    return Scenario(
        "paced",
        workload,
        _all_want(EVERYTHING, FASTGW_FIELDS, FASTGW_READ, FASTGW_NAMES, FASTGW_DATA),
        (
            Target(FASTGW_FIELDS, 1.0, of=PICOWS),
            Target(FASTGW_READ, 1.0, of=PICOWS),
            Target(FASTGW_NAMES, 1.0, of=PICOWS),
            Target(FASTGW_DATA, 1.0, of=PICOWS),
        ),
    )


def _all_want(
    names: frozenset[str] | None, *ours: Entrant
) -> tuple[tuple[Entrant, frozenset[str] | None], ...]:
    """Let these and all others compete for the same names."""
    return tuple((entrant, names) for entrant in (*ours, *OTHERS))
