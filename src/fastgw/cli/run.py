"""`fastgw run module:name`: a bot in several processes, and how they are, as it goes on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import WorkerFailed
from ..gateway import API_URL
from ..processes.layout import parse_shards
from ..processes.logs import JsonFormatter
from ..processes.settings import STOP_TIMEOUT_S, ProcessOptions
from ..processes.status import ProcessesStatus
from ..processes.supervisor import Supervisor

__all__ = ["add_arguments", "run"]

# Without a terminal: a line when something changed, at most once in so many seconds, ...
CHANGE_S = 1.0
# ... and one now and then, to show that it lives.
QUIET_S = 60.0


def run(options: argparse.Namespace) -> int:
    """Run the bot until its end; returns the exit code."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter()
        if options.log == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = ProcessOptions(
        target=options.target,
        processes=options.processes,
        shard_ids=None if options.shards is None else parse_shards(options.shards),
        shard_count=options.shard_count,
        store=options.store,
        keeps_sessions=not options.in_memory,
        api_url=options.api_url,
        metrics=options.metrics,
        log=options.log,
        stop_timeout_s=options.stop_timeout,
    )
    view = _choose(options)
    with view:
        try:
            return asyncio.run(Supervisor(settings, report=view.show).run())
        except WorkerFailed as error:
            view.stop()
            if error.details:
                sys.stderr.write(error.details)
            sys.stderr.write(f"fastgw: {error}\n")
            return 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw run` takes."""
    parser.add_argument(
        "target", metavar="MODULE:NAME", help="a Gateway, or a function that makes one"
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="how many workers (default: 1)"
    )
    parser.add_argument(
        "--shards", metavar="IDS", help="shards of this machine, such as 0-127; with --shard-count"
    )
    parser.add_argument(
        "--shard-count", type=int, metavar="N", help="shards of the bot (default: as recommended)"
    )
    parser.add_argument(
        "--store", type=Path, metavar="FILE",
        help="sessions and identify turns (default: in $STATE_DIRECTORY, "
        "else in $XDG_STATE_HOME/fastgw/<bot id>)",
    )  # fmt: skip
    parser.add_argument(
        "--in-memory", action="store_true",
        help="keep no sessions: for bots that need READY and GUILD_CREATE at each start",
    )  # fmt: skip
    parser.add_argument(
        "--api-url", default=API_URL, metavar="URL",
        help="base of the API, such as FakeGateway's api_url (default: Discord's)",
    )  # fmt: skip
    parser.add_argument(
        "--stop-timeout", type=float, default=STOP_TIMEOUT_S, metavar="S",
        help=f"seconds that workers may take to end (default: {STOP_TIMEOUT_S:g})",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", metavar="HOST:PORT",
        help="serve /metrics, /stats.json, /healthz and /readyz there; a port alone is loopback's",
    )  # fmt: skip
    parser.add_argument(
        "--log", choices=("text", "json"), default="text",
        help="json: each record of a log is an object a line, of workers from INFO on",
    )  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="lines instead of a live view")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")


def _choose(options: argparse.Namespace) -> LineView | LiveView:
    plain = options.plain or options.json or not sys.stdout.isatty()
    if not plain and os.environ.get("TERM") not in ("dumb", "unknown"):
        try:
            return LiveView()
        except ImportError:
            sys.stderr.write('for the live view: pip install "fastgw[cli]"\n')
    return LineView(as_json=options.json)


class LineView(contextlib.AbstractContextManager["LineView"]):
    """One line a change. What reads it may go away; the bot goes on."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._said: object = None
        self._at = float("-inf")
        self._is_reader_lost = False

    def __exit__(self, *_details: object) -> None:
        self.stop()

    def show(self, status: ProcessesStatus) -> None:
        """Write a line if there is something new to say."""
        now = time.monotonic()
        what = _gist(status)
        quiet_s = 0.0 if status.is_closing or status.is_ready else CHANGE_S
        if now - self._at < (quiet_s if what != self._said else QUIET_S):
            return
        self._said, self._at = what, now
        self._write(json.dumps(asdict(status)) if self._as_json else status.as_line())

    def stop(self) -> None:
        """Show no more."""

    def _write(self, line: str) -> None:
        if self._is_reader_lost:
            return
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except OSError:  # a pipe that was closed, a terminal that is gone
            self._is_reader_lost = True
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _gist(status: ProcessesStatus) -> object:
    """Return what makes a line worth writing; figures alone do not."""
    workers = tuple((worker.phase, worker.pid, worker.restarts) for worker in status.workers)
    return status.ready, status.is_closing, workers


class LiveView(contextlib.AbstractContextManager["LiveView"]):
    """A bar while shards come up, and a row a worker, redrawn in place; needs rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), refresh_per_second=4, redirect_stderr=True)
        self._began = time.monotonic()

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self.stop()

    def show(self, status: ProcessesStatus) -> None:
        """Draw it anew."""
        with contextlib.suppress(OSError):  # the terminal is gone
            self._live.update(self._view(status))

    def stop(self) -> None:
        """Leave the last view as it is."""
        with contextlib.suppress(OSError):
            self._live.stop()

    def _view(self, status: ProcessesStatus) -> Any:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table("worker", "pid", "phase", "shards", "READY", "events/s", "restarts", "lag")
        for worker in status.workers:
            colour = "green" if worker.ready == len(worker.shard_ids) else "yellow"
            ids = worker.shard_ids
            table.add_row(
                str(worker.index), str(worker.pid or "-"), worker.phase, f"{ids[0]}-{ids[-1]}",
                f"[{colour}]{worker.ready}/{len(ids)}[/]", f"{worker.events_per_s:,.0f}",
                str(worker.restarts), f"{worker.loop_lag_s * 1e3:.0f} ms",
            )  # fmt: skip
        bar = Padding(  # which ends its line; a bar alone does not
            ProgressBar(total=max(1, status.shards), completed=status.ready, width=60), 0
        )
        return Group(status.as_line(), *([] if status.is_ready else [bar]), table)
