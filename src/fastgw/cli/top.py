"""`fastgw top`: the shards of a running bot, over the endpoint that `--metrics` opens."""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from ..errors import FastgwError, UsageError
from ._terminal import columns, fit, is_live, is_rich

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "render", "run"]

HELP = "the shards of a running bot, live"
DESCRIPTION = (
    "Show the shards of a bot that runs with --metrics HOST:PORT (fastgw run) or metrics= (a "
    "Gateway): those that are not READY first. Exit code 0: --once, and all are READY; 1: --once, "
    "and not all are; 130: Ctrl-C; 2: nothing answers there."
)
VERSION = 1
TIMEOUT_S = 5.0
_STATES = {"ready": "green"}
_HEAD = "shard process status       events/s  latency  ACK age     ready for  ends  lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw top` takes."""
    parser.add_argument(
        "address", nargs="?", default="127.0.0.1:9100", metavar="HOST:PORT",
        help="where the endpoint is, or its URL (default: 127.0.0.1:9100)",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="S", help="seconds (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="one table, and end")


def run(options: argparse.Namespace) -> int:
    """Show it once, or until Ctrl-C; returns the exit code."""
    url = _url(options.address)
    before, now = None, _ask(url)
    time.sleep(options.interval)
    before, now = now, _ask(url)
    if options.once:
        print("\n".join(render(now, before)), flush=True)
        return 0 if all(shard["is_ready"] for shard in now["shards"]) else 1
    show = _painter()
    trouble = ""
    while True:
        show(now, before, trouble)
        time.sleep(options.interval)
        try:
            before, now, trouble = now, _ask(url), ""
        except FastgwError as error:  # it may come again: the last that was seen stays
            trouble = str(error)


# --- asking ----------------------------------------------------------------------------------


def _url(address: str) -> str:
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return f"http://{parts.netloc}"
    except ValueError:
        pass
    raise UsageError(f"{address!r} is no address such as 127.0.0.1:9100")


def _ask(url: str) -> dict[str, Any]:
    """
    Return the document of `/stats.json`.

    Raises:
        UsageError: nothing answers, or something else does.
    """
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/stats.json")
        answer = connection.getresponse()
        document = json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException) as error:
        raise UsageError(
            f"nothing answers at {url} ({getattr(error, 'strerror', None) or error}); start the "
            f"bot with fastgw run --metrics HOST:PORT, or Gateway(metrics=...)"
        ) from error
    except ValueError:
        document = None
    finally:
        connection.close()
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise UsageError(f"what answers at {url} is no bot of this version of fastgw")
    return document


# --- the table -------------------------------------------------------------------------------


def render(now: dict[str, Any], before: dict[str, Any], rows: int | None = None) -> list[str]:
    """
    Return the lines of the view; none is wider than the terminal.

    Args:
        now, before: two documents of the endpoint, for what happened between them.
        rows: how many lines there may be; None for all shards.
    """
    shards = sorted(now["shards"], key=lambda shard: (shard["is_ready"], shard["shard_id"]))
    lines = [*_summary(now, before), "", _HEAD]
    room = len(shards) if rows is None else max(1, rows - len(lines) - 1)
    shown = shards if len(shards) <= room else shards[:room]
    lines += [_row(shard, now, before) for shard in shown]
    if len(shown) < len(shards):
        rest = shards[len(shown) :]
        ready = sum(shard["is_ready"] for shard in rest)
        lines.append(f"... {len(rest)} more, {ready} of them READY")
    return [fit(line, columns() - 1) for line in lines]


def _summary(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    shards, processes = now["shards"], now["processes"]
    ready = sum(shard["is_ready"] for shard in shards)
    total, earlier = now["counts"]["total"], before["counts"]["total"]
    events = _rate(total, earlier, "dispatches", now, before)
    delivered = _rate(total, earlier, "delivered", now, before)
    received = _rate(total, earlier, "bytes_received", now, before)
    decoded = _rate(total, earlier, "bytes_decoded", now, before)
    budget = now["identify_budget"]
    left = "" if budget is None else f", identifies {budget['remaining']} of {budget['total']}"
    lag_ms = max((process["loop_lag_s"] or 0.0 for process in processes), default=0.0) * 1e3
    worst_ms = max((process["loop_lag_worst_s"] or 0.0 for process in processes), default=0.0) * 1e3
    waiting = sum(process["unhandled"] for process in processes)
    restarts = sum(process["restarts"] for process in processes)
    return [
        f"{ready} of {len(shards)} shards READY in {len(processes)} "
        f"process{'es' * (len(processes) != 1)}, {restarts} restarts{left}",
        f"{events:,.0f} events/s, {delivered:,.0f} delivered, {decoded / 1e6:,.1f} MB/s in "
        f"{received / 1e6:,.1f} on the wire",
        f"{waiting:,} events wait, loop lag {lag_ms:.0f} ms (worst of a minute {worst_ms:.0f} ms)",
    ]


def _row(shard: dict[str, Any], now: dict[str, Any], before: dict[str, Any]) -> str:
    key = str(shard["shard_id"])
    counts = now["counts"]["shards"].get(key, {})
    events = _rate(counts, before["counts"]["shards"].get(key, {}), "dispatches", now, before)
    latency = "-" if shard["latency_s"] is None else f"{shard['latency_s'] * 1e3:.0f} ms"
    since = shard["ready_for_s"]
    age = _span(since) if since is not None else f"away {_span(shard['away_for_s'])}"
    ends = sum(counts.get("reconnects", {}).values())
    return (
        f"{shard['shard_id']:>5} {shard['process']:>7} {shard['status']:<11} {events:>9,.0f} "
        f"{latency:>8} {_span(shard['last_ack_age_s']):>8} {age:>13} {ends:>5} "
        f"{counts.get('sessions_lost', 0):>5}"
    )


def _rate(
    after: dict[str, Any], earlier: dict[str, Any], name: str, now: dict[str, Any],
    before: dict[str, Any],
) -> float:  # fmt: skip
    """Return a count per second; 0 for what has begun anew, or was not there before."""
    passed_s: float = now["at"] - before["at"]
    if passed_s <= 0 or name not in after or name not in earlier:
        return 0.0
    grown: int = after[name] - earlier[name]
    return max(0, grown) / passed_s


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


# --- the screen ------------------------------------------------------------------------------


def _painter() -> Any:
    """Return what shows two documents and what is wrong: in place, or as a line each time."""
    if not is_live(sys.stdout):
        return _say
    if not is_rich():
        return _draw
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def paint(now: dict[str, Any], before: dict[str, Any], trouble: str) -> None:
        lines = _screen(now, before, trouble)
        text = Text("\n").join(Text(line, style=_style(line, index)) for index, line in lines)
        sys.stdout.write("\x1b[H\x1b[2J")
        console.print(text, end="", overflow="crop", no_wrap=True)
        sys.stdout.flush()

    return paint


def _screen(now: dict[str, Any], before: dict[str, Any], trouble: str) -> list[tuple[int, str]]:
    rows = shutil.get_terminal_size((80, 24)).lines
    lines = render(now, before, rows - bool(trouble))
    if trouble:
        lines.insert(0, fit(trouble, columns() - 1))
    return list(enumerate(lines))


def _style(line: str, index: int) -> str:
    if line == fit(_HEAD, columns() - 1):
        return "bold"
    words = line.split()
    is_row = len(words) > 3 and words[0].isdigit() and words[1].isdigit()
    return _STATES.get(words[2], "yellow") if is_row else "bold red" if "nothing" in words else ""


def _draw(now: dict[str, Any], before: dict[str, Any], trouble: str) -> None:
    text = "\n".join(line for _, line in _screen(now, before, trouble))
    sys.stdout.write("\x1b[H\x1b[2J" + text)
    sys.stdout.flush()


def _say(now: dict[str, Any], before: dict[str, Any], trouble: str) -> None:
    """Write one line, for a log."""
    ready, flow, _ = _summary(now, before)
    print(trouble or f"{ready}; {flow}", flush=True)


def _interval(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("must be between 0.1 and 3600")
    return value
