"""How the demo looks: a live table where there is a terminal and rich, lines anywhere else."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._figures import Frame, Summary

__all__ = ["choose"]

# Of fewer events nothing can be said about one.
_FEW = 10


def choose(*, plain: bool, quiet: bool, seconds: float) -> PlainView | LiveView:
    """Return the view for this terminal; `quiet` shows nothing while it runs."""
    # A dumb terminal cannot redraw: rich would show nothing until the end.
    if not plain and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        try:
            return LiveView(seconds)
        except ImportError:
            sys.stderr.write('for the live view: pip install "fastgw[cli]"\n')
    return PlainView(quiet)


def _micro() -> str:
    """The prefix of a millionth, as the output's encoding can say it."""
    try:
        "µ".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "u"
    return "µ"


def _line(frame: Frame) -> str:
    """One line of at most 80 columns, with what moves; the summary has the rest."""
    return (
        f"{frame.elapsed_s:5.1f} s  {frame.status}, {frame.events:,} events, "
        f"{frame.events_per_s:,.0f}/s, {_cost(frame)} each"
    )


def _cost(frame: Frame) -> str:
    """Say the CPU of an event; of the first few it would be that of the start."""
    return "-" if frame.events < _FEW else f"{frame.cpu_us_per_event:.2f} {_micro()}s"


def _rows(frame: Frame) -> list[tuple[str, str]]:
    latency = "-" if frame.latency_ms is None else f"{frame.latency_ms:.2f} ms"
    return [
        ("status", frame.status),
        ("planned cut", _cut(frame)),
        ("events", f"{frame.events:,}"),
        ("events per second", f"{frame.events_per_s:,.0f}"),
        ("MB per second", f"{frame.megabytes_per_s:,.1f}"),
        ("dropped unparsed", f"{frame.dropped:,}"),
        ("delivered", f"{frame.delivered:,}"),
        ("decoded", f"{frame.decoded:,}"),
        ("heartbeat latency", latency),
        ("CPU per event", _cost(frame)),
        ("memory", f"{frame.rss_mb:.0f} MB"),
    ]


def _cut(moment: Frame | Summary) -> str:
    """Say when all connections were cut; of nothing else the bot is to be surprised."""
    return "to come" if moment.cut_at_s is None else f"at {moment.cut_at_s:.1f} s"


def _verdict(summary: Summary) -> list[str]:
    return [
        f"{summary.events:,} events in {summary.seconds:.1f} s "
        f"({summary.events_per_s:,.0f} per second)",
        f"{summary.megabytes:,.0f} MB of JSON "
        f"in {summary.compressed_megabytes:,.0f} MB on the wire",
        f"{summary.dropped:,} dropped unparsed, {summary.delivered:,} delivered, "
        f"{summary.decoded:,} decoded",
        f"shards: {summary.shards}, cut {_cut(summary)} as planned; "
        f"sessions: {summary.identifies}, resumes: {summary.resumes}",
        f"{summary.replayed:,} replayed, {summary.lost} lost, {summary.duplicated} duplicated",
        f"CPU {summary.cpu_us_per_event:.2f} {_micro()}s per event (TLS, inflating, routing, "
        f"handlers), peak memory {summary.peak_rss_mb:.0f} MB",
        "everything held"
        if summary.holds
        else f"THIS IS NOT AS IT SHOULD BE: {'; '.join(summary.faults)}",
    ]


class PlainView(AbstractContextManager["PlainView"]):
    """One line a second."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._next_s = 0.0
        self._is_cut = False

    def __exit__(self, *exc_info: object) -> None:
        pass

    def show(self, frame: Frame) -> None:
        if frame.elapsed_s + 1 < self._next_s:
            self._next_s = 0.0  # all are up: the clock of the run itself begins
        if frame.cut_at_s is not None and not self._is_cut and not self._quiet:
            self._is_cut = True
            sys.stdout.write(f"{frame.cut_at_s:5.1f} s  all connections are cut, as planned\n")
        if self._quiet or frame.elapsed_s < self._next_s:
            return
        self._next_s = frame.elapsed_s + 1
        sys.stdout.write(_line(frame) + "\n")
        sys.stdout.flush()

    def summarise(self, summary: Summary) -> None:
        sys.stdout.write("\n".join(["", *_verdict(summary)]) + "\n")


class LiveView(AbstractContextManager["LiveView"]):
    """A table that is redrawn in place; needs rich."""

    def __init__(self, seconds: float) -> None:
        from rich.console import Console
        from rich.live import Live

        self._seconds = seconds
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=8)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, frame: Frame) -> None:
        self._live.update(self._view(frame))

    def _view(self, frame: Frame) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar

        if frame.ready == frame.shards:
            return self._table(frame)
        bar = ProgressBar(total=frame.shards, completed=frame.ready, width=50)
        return Group(self._table(frame), bar)

    def _table(self, frame: Frame) -> Any:
        from rich.table import Table

        table = Table(
            title=f"fastgw demo  {frame.elapsed_s:.0f} of {self._seconds:.0f} s", show_header=False
        )
        table.add_column(style="bold")
        table.add_column(justify="right", min_width=14)
        for name, value in _rows(frame):
            colour = {"ready": "green"}.get(value, "yellow") if name == "status" else ""
            table.add_row(name, f"[{colour}]{value}[/]" if colour else value)
        return table

    def summarise(self, summary: Summary) -> None:
        *facts, verdict = _verdict(summary)
        for line in facts:
            self._console.print(line, highlight=False)  # it would cut figures at their commas
        self._console.print(verdict, style="bold green" if summary.holds else "bold red")
