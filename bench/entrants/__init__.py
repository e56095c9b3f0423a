"""
The clients compared. Each module has `async def run(job, meter, **options) -> dict | None`, which
connects, receives until `meter.done` is set, and may return more to report.

This table is all that the process of the benchmark itself knows of them; their modules are imported
in the client process only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Entrant:
    """
    Attributes:
        label: as printed.
        module: below `bench.entrants`.
        reads: what the handlers add up: "sequence", the length of "content", or the guild id, asked
            of the "envelope" or looked up in the "data"; "nothing" where no events are seen at
            all, only messages: by a floor, or as text.
        options: passed to the module's `run`.
        requires: distributions' import names that must be there.
        floor: of a floor only: compression -> the compiled floor that must have been built.
        compressions: that it was built for, when not all.
        cargo: it is the Rust program, which must have been built.
        delivers: names it has events for, when not all; others cannot be counted.
        lacks: names it has no events for, where that is shorter to say.
        settle_s: time between prelude and measured part for work of its own.
        loop: "asyncio", or "" for uvloop where it is installed.
    """

    label: str
    module: str
    reads: str = "data"
    options: dict[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    floor: dict[str, str] = field(default_factory=dict)
    compressions: tuple[str, ...] = ()
    cargo: bool = False
    delivers: frozenset[str] | None = None
    lacks: frozenset[str] = frozenset()
    settle_s: float = 0.05
    loop: str = ""

    def __str__(self) -> str:
        return self.label

    def runs_with(self, compression: str) -> bool:
        """Whether there is such an entrant for a compression; most know every one."""
        known = tuple(self.floor) or self.compressions
        return not known or compression in known

    def options_for(self, compression: str) -> dict[str, Any]:
        """What is passed to the module's `run`."""
        return self.options | ({"kind": self.floor[compression]} if self.floor else {})

    def missing(self) -> str:
        """Name the first package that is not installed; empty when none."""
        for name in self.requires:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                return name
            if importlib.util.find_spec(name) is None:
                return name
        return ""

    def names(self, wanted: Iterable[str]) -> list[str]:
        """Those of the wanted names that it has events for."""
        has = self.delivers
        return [n for n in wanted if (has is None or n in has) and n not in self.lacks]


# What discord.py has an event for with its member and message caches off.
_DISCORD_PY = frozenset(
    {
        "GUILD_CREATE",
        "INTERACTION_CREATE",
        "MESSAGE_CREATE",
        "MESSAGE_DELETE",
        "MESSAGE_REACTION_ADD",
        "MESSAGE_REACTION_REMOVE",
        "MESSAGE_UPDATE",
        "PRESENCE_UPDATE",
        "TYPING_START",
        "VOICE_STATE_UPDATE",
    }
)
# The same events and the member events, which hikari has without its cache.
_HIKARI_MODELS = _DISCORD_PY | {
    "GUILD_MEMBER_ADD",
    "GUILD_MEMBER_REMOVE",
    "GUILD_MEMBER_UPDATE",
}

FLOOR = Entrant(
    "floor, C library",
    "floor",
    "nothing",
    floor={"none": "none", "zlib": "libz", "zstd": "libzstd"},
)
PACKAGE_FLOOR = Entrant(
    "floor, Python package",
    "floor",
    "nothing",
    floor={"zlib": "zlib_package", "zstd": "zstd_package"},
)
FASTGW_NAMES = Entrant("fastgw, name and guild_id", "fastgw_gateway", "envelope")
FASTGW_DATA = Entrant("fastgw, event.data", "fastgw_gateway")
FASTGW_SEQUENCE = Entrant("fastgw, name and sequence", "fastgw_gateway", "sequence")
FASTGW_ASYNC = Entrant(
    "fastgw, event.data, async handlers", "fastgw_gateway", options={"coroutine": True}
)
FASTGW_FIELDS = Entrant(
    "fastgw, called with three fields", "fastgw_gateway", "content", options={"form": "fields"}
)
FASTGW_READ = Entrant(
    "fastgw, event.read of three fields", "fastgw_gateway", "content", options={"form": "read"}
)
FASTGW_FIELDS_ASYNC = Entrant(
    "fastgw, three fields, async handlers",
    "fastgw_gateway",
    "content",
    options={"form": "fields", "coroutine": True},
)
FASTGW_WHERE = Entrant(
    "fastgw, all rejected by two fields", "fastgw_gateway", "envelope", options={"form": "where"}
)
FASTGW_GUILDS = Entrant(
    "fastgw, id, name, member_count by fields",
    "fastgw_gateway",
    "envelope",
    options={"form": "guilds"},
)
FASTGW = Entrant("fastgw", "fastgw_gateway", "envelope")
PICOWS = Entrant("picows + orjson", "picows_orjson")
PICOWS_BYTES = Entrant(
    "picows + orjson, name in bytes first", "picows_orjson", options={"peek": True}
)
PICOWS_SIMDJSON = Entrant(
    "picows + simdjson", "picows_simdjson", "envelope", requires=("simdjson",)
)
AIOHTTP = Entrant("aiohttp + orjson", "aiohttp_orjson", requires=("aiohttp",))
WEBSOCKETS = Entrant("websockets + orjson", "websockets_orjson", requires=("websockets",))
DISCORD_PY = Entrant(
    "discord.py", "discord_py", requires=("discord",), delivers=_DISCORD_PY, settle_s=0.6
)
# Of its forks one is installed, or none: tests/attach/environments.py makes a place for each.
_FORK = replace(
    DISCORD_PY,
    delivers=_DISCORD_PY - {"PRESENCE_UPDATE"},  # two of them have no raw event of it
)
DISNAKE = replace(_FORK, label="disnake", requires=("disnake",), options={"package": "disnake"})
NEXTCORD = replace(_FORK, label="nextcord", requires=("nextcord",), options={"package": "nextcord"})
PYCORD = replace(_FORK, label="py-cord")
HIKARI_RAW = Entrant(
    "hikari, raw payload events",
    "hikari_bot",
    options={"models": False},
    requires=("hikari",),
    settle_s=0.3,
)
HIKARI = Entrant(
    "hikari, models",
    "hikari_bot",
    options={"models": True},
    requires=("hikari",),
    delivers=_HIKARI_MODELS,
    settle_s=0.3,
)
# Its compression is chosen when it is built: zstd.
TWILIGHT_RAW = Entrant(
    "twilight (Rust), raw text",
    "twilight",
    "nothing",
    options={"mode": "raw"},
    compressions=("zstd",),
    cargo=True,
)
TWILIGHT = replace(
    TWILIGHT_RAW,
    label="twilight (Rust), typed",
    reads="data",
    options={"mode": "typed"},
    lacks=frozenset({"VOICE_CHANNEL_STATUS_UPDATE"}),
)
TWILIGHT_FLAGS = replace(
    TWILIGHT, label="twilight (Rust), event-type flags", options={"mode": "flags"}
)
