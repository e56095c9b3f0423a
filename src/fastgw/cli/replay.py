"""`fastgw replay`: a recording, sent again by a fake gateway."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocol.events import EVENT_INTENTS
from ._interrupts import run_to_the_end
from ._numbers import whole
from ._serving import announce, listening
from ._terminal import Waiting, columns

if TYPE_CHECKING:
    from ..testing import FakeGateway, Recording

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "a recording, sent again by a fake gateway"
DESCRIPTION = (
    "Serve what fastgw record wrote: wait until a bot has connected the recorded shards, send them "
    "what they received, as far as the intents of the bot ask for it, as fast as it came or at "
    "another speed, and end when all of it was acknowledged. Exit code 0: everything was received; "
    "1: the recording breaks off, or a bot did not acknowledge; 130: Ctrl-C; 2: cannot run."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw replay` takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what fastgw record wrote")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X",
        help="so many times as fast as it came, or `max` (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=whole(0, 65_535), default=0, help="port to listen on (default: free)"
    )
    parser.add_argument("--json", action="store_true", help="only the URLs, as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Replay to the end; returns the exit code."""
    return run_to_the_end(_replay(options))


async def _replay(options: argparse.Namespace) -> int:
    from ..testing import Recording, replaying_gateway

    recording = Recording(options.file)
    fake = replaying_gateway(recording, host=options.host, port=options.port)
    async with listening(fake, options.host, options.port):
        announce(fake, _what(recording), as_json=options.json)
        withheld: Counter[str] = Counter()
        with Waiting("waiting for the recorded shards", is_quiet=options.json) as waiting:
            began = time.monotonic()
            try:
                sent = await _play(recording, fake, options.speed, waiting, withheld)
            except TimeoutError:
                sys.stderr.write("fastgw: not everything was acknowledged within a minute\n")
                return 1
        took_s = time.monotonic() - began
    if not options.json:
        print(f"{sent:,} messages sent and acknowledged in {took_s:.1f} s")
        if withheld:
            print("\n".join(_withheld_lines(withheld)))
    if not recording.is_whole:
        sys.stderr.write(f"fastgw: {options.file} breaks off; what it holds was sent\n")
        return 1
    return 0


async def _play(
    recording: Recording,
    fake: FakeGateway,
    speed: float | None,
    waiting: Waiting,
    withheld: Counter[str],
) -> int:
    from ..testing import play

    sent = 0

    def progress(count: int) -> None:
        nonlocal sent
        sent = count

    def withhold(name: str) -> None:
        withheld[name] += 1

    playing = asyncio.ensure_future(
        play(recording, fake, speed=speed, progress=progress, withheld=withhold)
    )
    try:
        while not playing.done():
            await asyncio.wait({playing}, timeout=0.1)
            if sent:
                waiting.total = 1.0
                waiting.show(recording.share_read, f"{sent:,} messages")
            else:
                waiting.show()
        return playing.result()
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await playing


def _withheld_lines(withheld: Counter[str]) -> list[str]:
    """Say what the intents of the bot kept from it, most first, and which would let it through."""
    total = sum(withheld.values())
    names = ", ".join(
        f"{count:,} {name} ({' or '.join(EVENT_INTENTS[name].names())})"
        for name, count in withheld.most_common()
    )
    return textwrap.wrap(
        f"{total:,} were not sent, for the bot did not ask for their intents: {names}",
        min(columns() - 1, 110),
        subsequent_indent="  ",
    )


def _what(recording: Recording) -> str:
    facts = recording.facts
    ids = ", ".join(map(str, recording.shard_ids))
    return f"recorded {facts.get('recorded_at')}: shard {ids} of {recording.shard_count}"


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: 1, 10, 0.5, ... or max")
    return value
