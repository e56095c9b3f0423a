"""`fastgw demo --report`: what is kept of a run, and the one page that shows it, all inline."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .. import State, __version__
from ..errors import UsageError
from . import _charts

if TYPE_CHECKING:
    from .. import StatusChange
    from ._figures import Summary

__all__ = ["Recorder", "check_target", "write"]

# Waits are counted by powers of two of a microsecond; the last is an hour, above all that happens.
_BINS = 33
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --page: #fff;
  --line: #4752c4; --band: #f0b429; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d;
  --page: #0d1117; --line: #8b95ff; --band: #9a6700; --good: #3fb950; --bad: #f85149; } }
body { margin: 0 auto; max-width: 760px; padding: 16px; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin: 28px 0 0; } p { margin: 4px 0; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
svg { width: 100%; height: auto; display: block; } text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--grid); } .line { fill: none; stroke: var(--line); stroke-width: 1.8; }
.bar { fill: var(--line); } .band { fill: var(--band); fill-opacity: .35; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; font-size: 19px; }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One moment: seconds since the run began, and totals until then."""

    at_s: float
    events: int
    cpu_s: float
    rss_mb: float


class Recorder:
    """What the page needs of a run: moments, waits of events, and when shards were away."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._away: set[int] = set()
        self.points: list[Point] = []
        self.waits = [0] * _BINS
        self.bands: list[_charts.Band] = []
        self.ready_at: float | None = None
        self.traffic_from = 0.0
        self._lost_at = 0.0
        self._is_over = False

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Count seconds from here: what was made ready before is no part of the run."""
        self._began = time.monotonic()

    def moment(self, events: int, rss_mb: float) -> None:
        """Keep one moment."""
        if not self._is_over:
            self.points.append(Point(self.now_s, events, time.process_time(), rss_mb))

    def end(self) -> None:
        """Keep no further moment: the bot goes away, and that is not what the page is about."""
        self._is_over = True

    def waited(self, seconds: float) -> None:
        """Count how long an event took from the socket's read to its handler."""
        self.waits[min(int(seconds * 1e6).bit_length(), _BINS - 1)] += 1

    def status_changed(self, change: StatusChange) -> None:
        """Note when the first shard goes away, and when the last of them is back."""
        shard_id = change.shard.id
        if change.new is State.READY:
            if self.ready_at is None:
                self.ready_at = self.now_s
            if shard_id in self._away:
                self._away.remove(shard_id)
                if not self._away:
                    took_ms = (self.now_s - self._lost_at) * 1e3
                    self.bands.append((self._lost_at, self.now_s, f"cut, back in {took_ms:.0f} ms"))
        elif change.old is State.READY:
            if not self._away:
                self._lost_at = self.now_s
            self._away.add(shard_id)


def check_target(path: Path) -> None:
    """
    Refuse, before the run, a place that nothing can be written to.

    Raises:
        UsageError: no such folder, a folder itself, or not ours to write.
    """
    if path.is_dir():
        raise UsageError(f"--report {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--report {path} cannot be written")


def write(path: Path, recorder: Recorder, summary: Summary) -> None:
    """
    Write the page of one run.

    Raises:
        UsageError: it could be written before the run, and cannot now.
    """
    try:
        path.write_text(_page(recorder, summary), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--report {path} cannot be written: {error.strerror}") from error


def _charts_of(recorder: Recorder) -> list[tuple[str, str, str]]:
    """Return each chart with its title, and what is said of it."""
    points, bands = recorder.points, recorder.bands
    until = points[-1].at_s if points else 1.0
    rate, cost = _rates(points, since=recorder.traffic_from)
    start: list[_charts.Band] = []
    if recorder.ready_at is not None:
        start = [(recorder.ready_at, recorder.traffic_from, "guilds of the start")]
    memory = [(point.at_s, point.rss_mb) for point in points]
    return [
        (
            "Events per second",
            "",
            _charts.line("events per second", rate, until=until, bands=bands),
        ),
        (
            "CPU per event, µs",
            "User and system time of the bot's process: TLS, inflating, routing, handlers.",
            _charts.line("CPU per event in microseconds", cost, until=until, bands=bands),
        ),
        (
            "Memory, MB",
            "Resident, from before the first connection. At the start every guild is parsed once.",
            _charts.line("resident memory in MB", memory, until=until, bands=start + bands),
        ),
        (
            "From the socket's read to the handler",
            _quantiles(recorder.waits),
            _charts.bars("events by their wait", _histogram(recorder.waits)),
        ),
    ]


def _page(recorder: Recorder, summary: Summary) -> str:
    body = "\n".join(
        f'<h2>{name}</h2>\n<p class="soft">{escape(text)}</p>\n{chart}'
        for name, text, chart in _charts_of(recorder)
    )
    held = summary.holds
    verdict = (
        "everything held" if held else f"this is not as it should be: {'; '.join(summary.faults)}"
    )
    figures = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _figures(summary)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fastgw demo</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>fastgw demo: <span class="{"good" if held else "bad"}">{escape(verdict)}</span></h1>
<p class="soft">fastgw {__version__} against a fake gateway on this machine, over TLS and zstd.
All connections were cut once in the middle.</p>
<dl>
{figures}
</dl>
{body}
</body>
</html>
"""


def _figures(summary: Summary) -> list[tuple[str, str]]:
    return [
        ("events", f"{summary.events:,}"),
        ("events per second", f"{summary.events_per_s:,.0f}"),
        ("CPU per event", f"{summary.cpu_us_per_event:.2f} µs"),
        ("peak memory", f"{summary.peak_rss_mb:.0f} MB"),
        ("sessions, resumes", f"{summary.identifies:,}, {summary.resumes:,}"),
        ("lost, duplicated", f"{summary.lost:,}, {summary.duplicated:,}"),
        ("dropped unparsed", f"{summary.dropped:,}"),
        ("delivered", f"{summary.delivered:,}"),
    ]


def _rates(points: list[Point], *, since: float) -> tuple[_charts.Points, _charts.Points]:
    """Return events per second and microseconds per event, between neighbouring moments."""
    rate: list[tuple[float, float | None]] = []
    cost: list[tuple[float, float | None]] = []
    for before, after in itertools.pairwise(points):
        if before.at_s < since or after.at_s <= before.at_s:
            continue
        events = after.events - before.events
        rate.append((after.at_s, events / (after.at_s - before.at_s)))
        cost.append((after.at_s, (after.cpu_s - before.cpu_s) / events * 1e6 if events else None))
    return rate, cost


def _histogram(waits: list[int]) -> list[tuple[str, int]]:
    """Name the bins from the first to the last that holds anything."""
    held = [index for index, count in enumerate(waits) if count]
    if not held:
        return []
    return [(f"<{_span(2.0**i)}", waits[i]) for i in range(held[0], held[-1] + 1)]


def _quantiles(waits: list[int]) -> str:
    total, passed = sum(waits), 0
    found: list[str] = []
    wanted = [(0.5, "half"), (0.99, "99 %"), (0.999, "99.9 %")]
    for index, count in enumerate(waits):
        passed += count
        while wanted and total and passed >= total * wanted[0][0]:
            found.append(f"{wanted.pop(0)[1]} within {_span(2.0**index)}")
    return ", ".join(found) if found else "No event was delivered."


def _span(microseconds: float) -> str:
    if microseconds < 1_000:
        return f"{microseconds:.0f} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1_000:.0f} ms"
    return f"{microseconds / 1_000_000:.0f} s"
