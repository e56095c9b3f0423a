"""`fastgw record`: what one shard of a real bot receives, into a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import _tap
from ._interrupts import run_to_the_end
from ._numbers import seconds
from ._terminal import Waiting

if TYPE_CHECKING:
    from .._decode import Event
    from ..gateway import Gateway
    from ..testing import RecordingWriter

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

# How often what has come is written.
LOOK_S = 0.1
BACKLOG_BYTES = 64 * 1024 * 1024

HELP = "what a real bot receives, into a file for fastgw replay"
DESCRIPTION = (
    f"Write the dispatches of one shard with their times to FILE, until Ctrl-C or for --seconds. "
    f"{_tap.COST} Tokens, session ids, resume URLs and _trace are replaced; all else is what "
    f"people wrote and did: keep the file as you keep the bot's data. Exit code 0: --seconds are "
    f"over; 130: Ctrl-C, and the file is whole; 2: cannot run, or Discord refused it."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw record` takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="to make, readable by you alone")
    parser.add_argument(
        "--seconds", type=seconds(0.1, 1e7), metavar="S", help="how long (default: Ctrl-C)"
    )
    parser.add_argument(
        "--redact-content", action="store_true", help="replace what people wrote and sent, too"
    )
    _tap.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Record until the end; returns the exit code."""
    if options.file.exists():  # before an identify is spent
        raise UsageError(f"{options.file} is there already: name another file")
    if not options.file.absolute().parent.is_dir():
        raise UsageError(f"{options.file} cannot be made: {options.file.parent} is no directory")
    return run_to_the_end(_record(options))


async def _record(options: argparse.Namespace) -> int:
    from ..testing import RecordingWriter

    with Waiting("connecting") as waiting:
        gateway, count = await _tap.make_gateway(options, waiting)
        with RecordingWriter(
            options.file,
            shard_ids=(options.shard,),
            shard_count=count,
            intents=options.intents,
            redact_content=options.redact_content,
        ) as writer:
            backlog = _Backlog(writer)
            gateway.on("*")(backlog.take)
            try:
                async with _tap.tapped(gateway):
                    await _write_for(gateway, backlog, options.seconds, waiting)
            finally:
                backlog.write()
                waiting.clear()
                sys.stderr.write(
                    f"fastgw: {writer.messages:,} messages, {writer.size_bytes / 1e6:,.1f} MB "
                    f"before compression, in {options.file}\n"
                )
    return 0


class _Backlog:
    """
    Events that are received and not yet written.

    A thread writes them, so that a slow disk stops no heartbeat; what is over the limit is written
    where it is received, which stops the reading.
    """

    def __init__(self, writer: RecordingWriter) -> None:
        self.writer = writer
        self._events: list[Event] = []
        self._bytes = 0
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)
        self._bytes += event.message_bytes
        if self._bytes > BACKLOG_BYTES:
            self.write()

    def write(self) -> None:
        """Write all that is kept; in any thread."""
        with self._lock:
            events, self._events, self._bytes = self._events, [], 0
            for event in events:
                self.writer.write(event)


async def _write_for(
    gateway: Gateway, backlog: _Backlog, seconds: float | None, waiting: Waiting
) -> None:
    """Write events until the time is over; raise what ended the gateway, if it ends before."""
    closed = asyncio.ensure_future(gateway.wait_closed())
    ready = asyncio.ensure_future(gateway.wait_ready())
    began = time.monotonic()
    try:
        while not closed.done():
            if not ready.done():
                began = time.monotonic()
                waiting.show(text="waiting for the identify's turn and READY")
            else:
                ready.result()  # it raises what refused us
                waiting.total = seconds
                waiting.show(time.monotonic() - began, f"{backlog.writer.messages:,} messages")
                if seconds is not None and time.monotonic() - began >= seconds:
                    return
            await asyncio.wait({closed}, timeout=LOOK_S)
            await asyncio.to_thread(backlog.write)
        closed.result()
    finally:
        ready.cancel()
        closed.cancel()
        await asyncio.gather(closed, ready, return_exceptions=True)
