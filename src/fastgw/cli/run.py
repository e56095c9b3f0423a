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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import FastgwError, UsageError, WorkerFailed
from ..gateway import API_URL
from ..log import careful_logger
from ..processes.layout import parse_shards
from ..processes.logs import JsonFormatter
from ..processes.settings import START_TIMEOUT_S, STOP_TIMEOUT_S, ProcessOptions
from ..processes.shared import LEASE_S, PREFIX, SharedRedis, read_url
from ..processes.status import ProcessesStatus
from ..processes.supervisor import Supervisor
from ..quoting import ranges
from ._aside import Aside, AsideHandler, Prints, RawText
from ._proxy import add_proxy

__all__ = ["add_arguments", "run"]

# Without a terminal: a line when something changed, at most once in so many seconds, ...
CHANGE_S = 1.0
# ... and one now and then, to show that it lives.
QUIET_S = 60.0
# Lines that wait for a reader that has stopped; then the oldest are left out.
MOST_LINES = 64

log = careful_logger("fastgw.processes")


def run(options: argparse.Namespace) -> int:
    """Run the bot until its end; returns the exit code."""
    shard_ids = None if options.shards is None else parse_shards(options.shards)
    if shard_ids is not None and options.shard_count is None:
        raise UsageError(
            f"--shards {options.shards} says nothing without --shard-count, the number of all "
            "shards of the bot"
        )
    settings = ProcessOptions(
        target=options.target,
        processes=options.processes,
        shard_ids=shard_ids,
        shard_count=options.shard_count,
        store=options.store,
        keeps_sessions=not options.in_memory,
        redis=None
        if options.redis is None
        else SharedRedis(read_url(options.redis), options.redis_prefix, options.lease),
        api_url=options.api_url,
        proxy=options.proxy,
        metrics=options.metrics,
        log=options.log,
        stop_timeout_s=options.stop_timeout,
        start_timeout_s=options.start_timeout,
    )
    with _choose(options) as view, contextlib.closing(_log_to(view, options.log)) as logs:
        settings = replace(settings, stdout=view.workers_stdout, stderr=view.workers_stderr)
        try:
            return asyncio.run(Supervisor(settings, report=view.show).run())
        except FastgwError as error:
            details = getattr(error, "details", "")
            if options.log == "json":
                log.critical("%s", error, extra={"error": details or None})
            else:
                logs.close()
                view.stop()
                sys.stderr.write(f"{details}fastgw: {error}\n")
            return 1 if isinstance(error, WorkerFailed) else 2


def _log_to(view: LineView | LiveView, form: str) -> logging.Handler:
    """Have all logs written where the view leaves room for them."""
    handler = AsideHandler(view.write_log)
    handler.setFormatter(
        JsonFormatter()
        if form == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    return handler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw run` takes."""
    parser.add_argument(
        "target", metavar="MODULE:NAME", help="a Gateway, or a function that makes one"
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="how many workers (default: 1)"
    )
    parser.add_argument(
        "--shards",
        metavar="IDS",
        help="shards of this machine, such as 0-127; with --shard-count (default: all, or with "
        "--redis a fair share, taken and handed over as machines come and go)",
    )
    parser.add_argument(
        "--shard-count", type=int, metavar="N", help="shards of the bot (default: as recommended)"
    )
    parser.add_argument(
        "--store", type=Path, metavar="FILE",
        help="sessions and identify turns (default: in $STATE_DIRECTORY, "
        "else in $XDG_STATE_HOME/fastgw/<bot id>, of another API than Discord's in "
        "fastgw/<host>/<bot id>)",
    )  # fmt: skip
    parser.add_argument(
        "--in-memory", action="store_true",
        help="keep no sessions: for bots that need READY and GUILD_CREATE at each start",
    )  # fmt: skip
    parser.add_argument(
        "--redis", metavar="URL",
        help="share sessions, leases and identify turns with the processes of all machines there; "
        "@FILE reads the URL from a file",
    )  # fmt: skip
    parser.add_argument(
        "--redis-prefix", default=PREFIX, metavar="NAME",
        help=f"of the keys of this bot (default: {PREFIX})",
    )  # fmt: skip
    parser.add_argument(
        "--lease", type=float, default=LEASE_S, metavar="S",
        help="seconds a shard stays with a process of which nothing is heard, with --redis "
        f"(default: {LEASE_S:g})",
    )  # fmt: skip
    parser.add_argument(
        "--api-url", default=API_URL, metavar="URL",
        help="base of the API, such as FakeGateway's api_url (default: Discord's)",
    )  # fmt: skip
    add_proxy(parser, "what leads to the API; the program's Gateway has its own")
    parser.add_argument(
        "--stop-timeout", type=float, default=STOP_TIMEOUT_S, metavar="S",
        help=f"seconds that workers may take to end (default: {STOP_TIMEOUT_S:g})",
    )  # fmt: skip
    parser.add_argument(
        "--start-timeout", type=float, default=START_TIMEOUT_S, metavar="S",
        help="seconds that workers may take to import the program and open the store (default: "
        f"{START_TIMEOUT_S:g})",
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
    """One line a change. What reads it may stop, or go away; the bot goes on."""

    workers_stderr = None

    def __init__(self, *, as_json: bool = False) -> None:
        # Descriptor 2 is standard error, whatever stands in sys.stderr.
        self.workers_stdout = 2 if as_json else None
        sys.stdout.flush()
        self._as_json = as_json
        self._said: object = None
        self._at = float("-inf")
        self._output = RawText(sys.stdout.fileno(), sys.stdout.encoding)
        self._log = RawText(sys.stderr.fileno(), sys.stderr.encoding)
        self._aside: Aside[ProcessesStatus] = Aside(self._write, most=MOST_LINES)

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def show(self, status: ProcessesStatus) -> None:
        """Have a line written if there is something new to say."""
        now = time.monotonic()
        what = _gist(status)
        quiet_s = 0.0 if status.is_closing or status.is_ready else CHANGE_S
        if now - self._at < (quiet_s if what != self._said else QUIET_S):
            return
        self._said, self._at = what, now
        self._aside.put(status)

    def write_log(self, text: str) -> None:
        """Write records of a log; blocks while nobody reads them."""
        self._log.write(text)

    def stop(self) -> None:
        """Write what waits still, and no more."""
        self._aside.close()

    def _write(self, status: ProcessesStatus, lost: int) -> None:
        if self._as_json:
            line = json.dumps(asdict(status) | {"lines_lost": lost})
        else:
            line = status.as_line() + (f", {lost} lines lost" if lost else "")
        self._output.write(line + "\n")


def _gist(status: ProcessesStatus) -> object:
    """Return what makes a line worth writing; figures alone do not."""
    workers = tuple((w.phase, w.pid, w.restarts, w.shard_ids) for w in status.workers)
    return status.ready, status.is_closing, workers


class LiveView(contextlib.AbstractContextManager["LiveView"]):
    """
    A bar while shards come up, and a row a worker, redrawn in place; needs rich.

    What workers print goes above it, line by line: they have a terminal of their own, of ours.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        # What is drawn is drawn by one thread, for a terminal may hang, too.
        screen: Any = RawText(sys.stdout.fileno(), sys.stdout.encoding)
        self._console = Console(file=screen)
        self._live = Live(console=self._console, auto_refresh=False)
        self._log = RawText(sys.stderr.fileno(), sys.stderr.encoding)
        self._aside: Aside[ProcessesStatus] | None = None
        self._prints: Prints | None = None

    def __enter__(self) -> LiveView:
        self._live.start()
        self._aside = Aside(self._draw, most=1, end=self._live.stop)
        self._prints = Prints(self._print)
        return self

    @property
    def workers_stdout(self) -> int | None:
        """The descriptor that workers print to."""
        return None if self._prints is None else self._prints.descriptor

    @property
    def workers_stderr(self) -> int | None:
        """The same, where standard error is a terminal as well."""
        return self.workers_stdout if self._log.isatty() else None

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def show(self, status: ProcessesStatus) -> None:
        """Have it drawn anew."""
        assert self._aside is not None
        self._aside.put(status)

    def write_log(self, text: str) -> None:
        """Write records of a log above the view, or where standard error goes."""
        if self._log.isatty():
            self._console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        else:
            self._log.write(text)

    def stop(self) -> None:
        """Leave the last view as it is."""
        assert self._aside is not None
        assert self._prints is not None
        self._prints.close()
        self._aside.close()

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _draw(self, status: ProcessesStatus, _lost: int) -> None:
        self._live.update(self._view(status), refresh=True)

    def _view(self, status: ProcessesStatus) -> Any:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table("worker", "pid", "phase", "shards", "READY", "events/s", "restarts", "lag")
        for worker in status.workers:
            colour = "green" if worker.ready >= worker.share else "yellow"
            table.add_row(
                str(worker.index), str(worker.pid or "-"), worker.phase,
                ranges(worker.shard_ids) or "-",
                f"[{colour}]{worker.ready}/{worker.share}[/]" if worker.share else "-",
                f"{worker.events_per_s:,.0f}",
                str(worker.restarts), f"{worker.loop_lag_s * 1e3:.0f} ms",
            )  # fmt: skip
        bar = Padding(  # which ends its line; a bar alone does not
            ProgressBar(total=max(1, status.shards), completed=status.ready, width=60), 0
        )
        return Group(status.as_line(), *([] if status.is_ready else [bar]), table)
