"""`fastgw tail`: what a real bot receives, as it comes."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import fnmatch
import re
import sys
import time
from typing import TYPE_CHECKING

from .._decode import Fields
from ..delivery.filters import Filter, field
from ..errors import UsageError
from ..protocol.events import EVENT_INTENTS, EVENT_NAMES
from . import _tap
from ._interrupts import run_to_the_end
from ._numbers import whole
from ._terminal import Waiting, columns, fit, printable

if TYPE_CHECKING:
    from .._decode import Event
    from ..delivery.streams import EventStream
    from ..gateway import Gateway
    from ..words import Intents

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "parse_filter", "run"]

HELP = "the events of a real bot, as they come"
DESCRIPTION = (
    f"Show the events of one shard, one a line, until Ctrl-C. {_tap.COST} Exit code 0: --count "
    "events were shown; 130: Ctrl-C; 2: cannot run, or Discord refused it."
)
# What a line shows of an event, as far as it is there and there is room.
SHOWN = Fields(
    "guild_id", "channel_id", "author.username", "user.username", "user.id", "user_id", "name",
    "emoji.name", "status", "content",
)  # fmt: skip
# `path=value`, `path!=value`, `path^=beginning`; without an operator: it is there. Discord's names
# are words, so that any other sign in a path is an operator that is not there.
_CONDITION = re.compile(r"(!?)([\w.-]+)(?:(=|!=|\^=)(.*))?", re.S)
_TESTS = (
    "author.id=7, author.bot!=true, content^=! (begins so), guild_id (is there) or !guild_id "
    "(is not)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw tail` takes."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=["*"],
        help="events to show, such as MESSAGE_CREATE or 'GUILD_*' (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--where", action="append", type=parse_filter, default=[], metavar="TEST",
        help=f"show only events whose member passes: {_TESTS}; of several, all",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=whole(1, 10**9), metavar="N", help="end after so many events"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="a JSON object a line")
    shape.add_argument("--raw", action="store_true", help="the data as Discord sent it, one a line")
    _tap.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Show events until the end; returns the exit code."""
    names = _names(options.names, options.intents)
    return run_to_the_end(_tail(options, names))


async def _tail(options: argparse.Namespace, names: list[str]) -> int:
    where: Filter | None = None
    for test in options.where:
        where = test if where is None else where & test
    with Waiting("connecting") as waiting:
        gateway, _ = await _tap.make_gateway(options, waiting)
        async with _tap.tapped(gateway), gateway.events(*names, where=where) as events:
            await _ready(gateway, waiting)
            waiting.clear()
            shown = await _show(events, _line_of(options), options.count)
            if shown != options.count:
                await gateway.wait_closed()  # it raises what ended it
    return 0


async def _ready(gateway: Gateway, waiting: Waiting) -> None:
    """Wait for READY, and say that we do: the turn may take its time."""
    ready = asyncio.ensure_future(gateway.wait_ready())
    try:
        while not ready.done():
            await asyncio.wait({ready}, timeout=0.1)
            waiting.show(text="waiting for the identify's turn and READY")
        ready.result()
    finally:
        ready.cancel()


async def _show(events: EventStream[Event], line_of: _Writer, count: int | None) -> int:
    """
    Write each event; return how many, when `count` are written or no more will come.

    A thread writes: whoever pauses the terminal stops the reading of events, not the heartbeats.
    """
    shown = 0
    async for event in events:
        await asyncio.to_thread(line_of.write, event)
        shown += 1
        if shown == count:
            break
    return shown


class _Writer:
    """Writes events in one of three shapes."""

    def __init__(self, shape: str) -> None:
        self._shape = shape
        self._out = sys.stdout.buffer
        # What to add to monotonic seconds to have those since 1970.
        self._epoch = time.time() - time.monotonic()

    def write(self, event: Event) -> None:
        """Write one event to standard output, as one line."""
        self._out.write(self._line(event) + b"\n")
        self._out.flush()

    def _line(self, event: Event) -> bytes:
        at = event.received_at + self._epoch
        if self._shape == "raw":
            return event.raw
        if self._shape == "json":
            import orjson

            return orjson.dumps(
                {
                    "at": round(at, 6),
                    "shard_id": event.shard_id,
                    "sequence": event.sequence,
                    "name": event.name,
                    "data": orjson.Fragment(event.raw),
                }
            )
        clock = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1e3):03d}"
        head = f"{clock} {event.name:<24} {event.message_bytes:>7,} B "
        facts = (
            f"{path}={value}"
            for path, value in zip(SHOWN.paths, event.read(SHOWN), strict=True)
            if value not in (None, "")
        )
        line = head + printable("  ".join(facts))
        if sys.stdout.isatty():  # what reads a pipe has no columns
            line = fit(line, columns() - 1)
        return line.encode(sys.stdout.encoding or "ascii", "replace")


def _line_of(options: argparse.Namespace) -> _Writer:
    return _Writer("raw" if options.raw else "json" if options.json else "text")


def _names(patterns: list[str], intents: Intents) -> list[str]:
    """Return the names that the patterns mean, of those that come with these intents."""
    if "*" in patterns:
        return ["*"]
    names: list[str] = []
    for pattern in patterns:
        upper = pattern.upper()
        # A name that is none is a pattern that matches nothing: what Discord sends without saying
        # so in its documentation comes with "*".
        meant = fnmatch.filter(sorted(EVENT_NAMES), upper)
        if not meant:
            raise UsageError(
                f"{pattern!r} matches no event that Discord documents{_nearest(upper)}"
            )
        coming = [name for name in meant if _comes(name, intents)]
        if not coming:
            needed = " or ".join(EVENT_INTENTS[meant[0]].names())
            raise UsageError(f"{pattern} needs the intent {needed}: add it to --intents")
        names += coming
    return list(dict.fromkeys(names))


def _nearest(name: str) -> str:
    """Name the events, and patterns of them, that this one may be a slip of, if there are any."""
    patterns = {f"'{event.partition('_')[0]}_*'" for event in EVENT_NAMES if "_" in event}
    likely = difflib.get_close_matches(name.removeprefix("ON_"), {*EVENT_NAMES, *patterns}, 3, 0.7)
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


def _comes(name: str, intents: Intents) -> bool:
    gates = EVENT_INTENTS.get(name)
    return not gates or bool(gates & intents)


def parse_filter(text: str) -> Filter:
    """
    Return the filter that a condition says, such as `author.bot!=true`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    match = _CONDITION.fullmatch(text)
    if match is None or (match[1] and match[3]):
        raise argparse.ArgumentTypeError(f"{text!r} is no test; write {_TESTS}")
    negation, path, operator, value = match.groups()
    try:
        member = field(path)
        if operator is None:
            return ~member.exists() if negation else member.exists()
        if operator == "^=":
            return member.startswith(value)
        same = member.equals(_value(value))
        return ~same if operator == "!=" else same
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _value(text: str) -> str | int | bool:
    """Read a value as JSON would; ids are digits, which `equals` finds in strings as well."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"\d{1,19}", text) and int(text) < 1 << 63 else text
