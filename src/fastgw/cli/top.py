"""`fastgw top`: the shards of a running bot, over the endpoint that `--metrics` opens."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from ..errors import FastgwError, UsageError
from ..processes.shared import PREFIX
from ._numbers import seconds
from ._terminal import (
    Waiting,
    columns,
    drawn,
    drawn_until_interrupted,
    fit,
    is_live,
    is_rich,
    rows,
)
from ._top_redis import run_redis, span

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "render", "run"]

HELP = "the shards of a running bot, live"
DESCRIPTION = (
    "Show the shards of a bot that runs with --metrics HOST:PORT (fastgw run) or metrics= (a "
    "Gateway): those that are not READY first. With --redis, what a bot on any number of machines "
    "has in Redis: who runs each shard, and how far each group of consumers is behind. Exit code "
    "0: one table, and all shards are READY, or run by somebody; 1: one table, and not all are; "
    "130: Ctrl-C; 2: nothing answers there."
)
VERSION = 1
TIMEOUT_S = 5.0
# A worker tells its counts every five seconds; one that hangs does not.
TOLD_WITHIN_S = 12.0
_COUNTS = ("dispatches", "delivered", "bytes_received", "bytes_decoded")
_STATES = {"ready": "green"}
# Discord would rather not have one heartbeat more than it asked for, so none is sent for this view.
_UNMEASURED = "latency: with the first heartbeat, in 41 s; early_heartbeat=True: at once"
_HEAD = "shard process status       events/s  latency  ACK age     ready for  ends  lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw top` takes."""
    parser.add_argument(
        "address", nargs="?", default="127.0.0.1:9100", metavar="HOST:PORT",
        help="where the endpoint is, or its URL (default: 127.0.0.1:9100)",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=seconds(0.1, 3600), default=1.0, metavar="S", help="seconds (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="one table, and end")
    parser.add_argument(
        "--redis", metavar="URL",
        help="read a bot's Redis instead, such as redis://host:6379/0; @FILE reads the URL from a "
        "file; without a terminal one table",
    )  # fmt: skip
    parser.add_argument(
        "--redis-prefix", default=PREFIX, metavar="NAME",
        help=f"what its keys there begin with (default: {PREFIX})",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="with --redis: all of it as one line of JSON, and end"
    )
    parser.add_argument(
        "--plain", action="store_true", help="with --redis: one table, also in a terminal"
    )


def run(options: argparse.Namespace) -> int:
    """Show it once, or until Ctrl-C; returns the exit code."""
    if options.redis is not None:
        return run_redis(options)
    if options.json or options.plain:
        raise UsageError("--json and --plain are for --redis; an endpoint has /stats.json")
    url, rates = _url(options.address), Rates()
    now, trouble = _ask(url), ""
    rates.take(now)
    if options.once:
        now = _ask_for_rates(url, rates, options.interval)
        print("\n".join(render(now, rates)), flush=True)
        return 0 if all(shard["is_ready"] for shard in now["shards"]) else 1
    show = _painter()
    with drawn_until_interrupted(sys.stdout):
        while True:
            time.sleep(options.interval)
            try:
                now, trouble = _ask(url), ""
                rates.take(now)
            except FastgwError as error:  # it may come again: the last that was seen stays
                trouble = str(error)
            show(now, rates, trouble)


def _ask_for_rates(url: str, rates: Rates, interval_s: float) -> dict[str, Any]:
    """Ask until each process has told its counts a second time, or does not."""
    until = time.monotonic() + TOLD_WITHIN_S
    with Waiting("until there are rates") as waiting:
        while True:
            time.sleep(interval_s)
            now = _ask(url)
            rates.take(now)
            if rates.are_known or time.monotonic() > until:
                return now
            waiting.show()


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


class Rates:
    """
    What each shard does in a second, between the last two times that its process told of it.

    A worker tells the supervisor its counts every few seconds: between two answers of the endpoint
    they have moved not at all, or by several answers' worth.

    Attributes:
        are_known: each process that tells something has told it twice.
    """

    def __init__(self) -> None:
        self.are_known = False
        self._told: dict[str, tuple[float, dict[str, Any]]] = {}
        self._rates: dict[str, dict[str, float]] = {}

    def take(self, document: dict[str, Any]) -> None:
        """Take the next document of the endpoint."""
        told_at = {process["index"]: process["told_at"] for process in document["processes"]}
        shards = [str(shard["shard_id"]) for shard in document["shards"]]
        for key, shard in zip(shards, document["shards"], strict=True):
            at, counts = told_at.get(shard["process"]), document["counts"]["shards"].get(key)
            if at is None or counts is None:
                self._told.pop(key, None)
                self._rates.pop(key, None)
                continue
            before_at, before = self._told.setdefault(key, (at, counts))
            if at > before_at:
                passed_s = at - before_at
                self._rates[key] = {
                    name: max(0, counts[name] - before[name]) / passed_s for name in _COUNTS
                }
            self._told[key] = at, counts
        self.are_known = self._told.keys() <= self._rates.keys()

    def of(self, name: str, shard_id: int) -> float | None:
        """Return that of a shard; None while there is none."""
        return self._rates.get(str(shard_id), {}).get(name)

    def total(self, name: str) -> float:
        """Return that of all shards."""
        return sum(rates[name] for rates in self._rates.values())


def render(now: dict[str, Any], rates: Rates, most: int | None = None) -> list[str]:
    """
    Return the lines of the view; none is wider than the terminal.

    Args:
        now: the document of the endpoint.
        rates: what happens in a second.
        most: how many lines there may be; None for all shards.
    """
    shards = sorted(now["shards"], key=lambda shard: (shard["is_ready"], shard["shard_id"]))
    lines = [*_summary(now, rates), "", _HEAD]
    is_unmeasured = any(shard["is_ready"] and shard["latency_s"] is None for shard in shards)
    room = len(shards) if most is None else max(1, most - len(lines) - 1 - is_unmeasured)
    shown = shards if len(shards) <= room else shards[:room]
    lines += [_row(shard, now, rates) for shard in shown]
    if len(shown) < len(shards):
        rest = shards[len(shown) :]
        ready = sum(shard["is_ready"] for shard in rest)
        lines.append(f"... {len(rest)} more, {ready} of them READY")
    if is_unmeasured:
        lines.append(_UNMEASURED)
    return [fit(line, columns() - 1) for line in lines]


def _summary(now: dict[str, Any], rates: Rates) -> list[str]:
    shards, processes = now["shards"], now["processes"]
    ready = sum(shard["is_ready"] for shard in shards)
    events, delivered, received, decoded = (rates.total(name) for name in _COUNTS)
    budget = now["identify_budget"]
    left = "" if budget is None else f", identifies {budget['remaining']} of {budget['total']}"
    lag_ms = max((process["loop_lag_s"] or 0.0 for process in processes), default=0.0) * 1e3
    worst_ms = max((process["loop_lag_worst_s"] or 0.0 for process in processes), default=0.0) * 1e3
    waiting = sum(process["unhandled"] for process in processes)
    restarts = sum(process["restarts"] for process in processes)
    of_shards = f"{ready} of {len(shards)} shards READY" if shards else "no shards yet"
    return [
        f"{of_shards} in {len(processes)} "
        f"process{'es' * (len(processes) != 1)}, {restarts} restart{'s' * (restarts != 1)}{left}",
        f"{events:,.0f} events/s, {delivered:,.0f} delivered, {decoded / 1e6:,.1f} MB/s in "
        f"{received / 1e6:,.1f} on the wire"
        if rates.are_known
        else "events a second are known once the counts were told twice",
        f"{waiting:,} event{' waits' if waiting == 1 else 's wait'}, loop lag {lag_ms:.0f} ms "
        f"(worst of a minute {worst_ms:.0f} ms)",
    ]


def _row(shard: dict[str, Any], now: dict[str, Any], rates: Rates) -> str:
    counts = now["counts"]["shards"].get(str(shard["shard_id"]), {})
    rate = rates.of("dispatches", shard["shard_id"])
    events = "-" if rate is None else f"{rate:,.0f}"
    latency = "-" if shard["latency_s"] is None else f"{shard['latency_s'] * 1e3:.0f} ms"
    since = shard["ready_for_s"]
    age = span(since) if since is not None else f"away {span(shard['away_for_s'])}"
    ends = sum(counts.get("reconnects", {}).values())
    return (
        f"{shard['shard_id']:>5} {shard['process']:>7} {shard['status']:<11} {events:>9} "
        f"{latency:>8} {span(shard['last_ack_age_s']):>8} {age:>13} {ends:>5} "
        f"{counts.get('sessions_lost', 0):>5}"
    )


# --- the screen ------------------------------------------------------------------------------


def _painter() -> Any:
    """Return what shows a document, rates and what is wrong: in place, or as a line each time."""
    if not is_live(sys.stdout):
        return _say
    if not is_rich():
        return _draw
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def paint(now: dict[str, Any], rates: Rates, trouble: str) -> None:
        lines = _screen(now, rates, trouble)
        text = Text("\n").join(Text(line, style=_style(line, index)) for index, line in lines)
        sys.stdout.write(drawn([]))
        console.print(text, overflow="crop", no_wrap=True)
        sys.stdout.flush()

    return paint


def _screen(now: dict[str, Any], rates: Rates, trouble: str) -> list[tuple[int, str]]:
    lines = render(now, rates, rows() - bool(trouble))
    if trouble:
        lines.insert(0, fit(trouble, columns() - 1))
    return list(enumerate(lines[: rows()]))


def _style(line: str, index: int) -> str:
    if line == fit(_HEAD, columns() - 1):
        return "bold"
    words = line.split()
    is_row = len(words) > 3 and words[0].isdigit() and words[1].isdigit()
    return _STATES.get(words[2], "yellow") if is_row else "bold red" if "nothing" in words else ""


def _draw(now: dict[str, Any], rates: Rates, trouble: str) -> None:
    sys.stdout.write(drawn([line for _, line in _screen(now, rates, trouble)]))
    sys.stdout.flush()


def _say(now: dict[str, Any], rates: Rates, trouble: str) -> None:
    """Write one line, for a log."""
    ready, flow, _ = _summary(now, rates)
    print(trouble or f"{ready}; {flow}", flush=True)
