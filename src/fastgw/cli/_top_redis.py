"""`fastgw top --redis`: what a bot has in Redis, without asking any of its processes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..processes.shared import read_url
from ._terminal import columns, drawn, drawn_until_interrupted, fit, is_live, printable, rows

if TYPE_CHECKING:
    from ..redis.server import Server

__all__ = ["render", "run_redis", "span"]

_GROUPS = "group             consumers mailboxes     entries    behind        MB     lost"
_SHARDS = "shard owner                      lease left   stored      session         epoch"


def run_redis(options: argparse.Namespace) -> int:
    """Show it once, or until Ctrl-C; returns the exit code."""
    from ..redis.overview import read_overview
    from ..redis.server import Server, check_prefix, check_url

    url = check_url(read_url(options.redis), "--redis")
    server = Server(url, check_prefix(options.redis_prefix))
    try:
        now = _read(server, read_overview)
        if options.json:
            print(json.dumps(now), flush=True)
        if options.json or options.once or not (is_live(sys.stdout) and not options.plain):
            if not options.json:
                print("\n".join(render(now)), flush=True)
            return 0 if all(_is_run(shard) for shard in now["shards"]) else 1
        trouble = ""
        with drawn_until_interrupted(sys.stdout):
            while True:
                _draw(now, trouble)
                time.sleep(options.interval)
                try:
                    now, trouble = _read(server, read_overview), ""
                except UsageError as error:  # it may come again: the last that was seen stays
                    trouble = str(error)
    finally:
        server.close()


def _read(server: Server, read: Any) -> dict[str, Any]:
    """Read it once; whatever is wrong with the server is one error, without its password."""
    try:
        overview: dict[str, Any] = read(server)
    except UsageError:
        raise
    except Exception as error:
        from ..redis.server import with_advice

        text = with_advice(error)
        shown = text if text.startswith(server.shown) else f"{server.shown}: {text}"
        raise UsageError(f"nothing can be read from {shown}") from error
    return overview


def _is_run(shard: dict[str, Any]) -> bool:
    """Tell whether some process runs a shard: it has a lease on it, or publishes its events."""
    return shard["owner"] is not None or shard["is_published"]


def render(now: dict[str, Any], most: int | None = None) -> list[str]:
    """
    Return the lines of the view; none is wider than the terminal.

    Args:
        now: the overview.
        most: how many lines there may be; None for all shards.
    """
    shards = sorted(now["shards"], key=lambda shard: (_is_run(shard), shard["shard_id"]))
    lines = [_summary(now), now["redis"], ""]
    if now["groups"]:
        lines += [_GROUPS, *map(_group, now["groups"]), ""]
    lines.append(_SHARDS)
    room = len(shards) if most is None else max(1, most - len(lines) - 1)
    shown = shards if len(shards) <= room else shards[:room]
    lines += map(_row, shown)
    if len(shown) < len(shards):
        rest = shards[len(shown) :]
        lines.append(f"... {len(rest)} more, {sum(map(_is_run, rest))} of them run")
    return [fit(printable(line), columns() - 1) for line in lines]


def _summary(now: dict[str, Any]) -> str:
    shards, budget = now["shards"], now["identify_budget"]
    leased = sum(shard["owner"] is not None for shard in shards)
    published = sum(shard["is_published"] for shard in shards)
    members = now["members"]
    left = "" if budget is None else f", identifies {budget['remaining']} of {budget['total']}"
    return (
        f"{leased} of {len(shards)} shards leased by {members} process{'es' * (members != 1)}, "
        f"{published} published{left}"
    )


def _group(group: dict[str, Any]) -> str:
    age_s = group["oldest_age_s"]
    behind = "0 s" if age_s is None and not group["entries"] else span(age_s)
    return (
        f"{printable(group['group'])[:17]:<17} {group['consumers']:>9} {group['mailboxes']:>9} "
        f"{group['entries']:>11,} {behind:>9} {group['bytes'] / 1e6:>9,.1f} {group['lost']:>8,}"
    )


def _row(shard: dict[str, Any]) -> str:
    owner = shard["owner"] or ("(a publisher)" if shard["is_published"] else "-")
    left_s = shard["lease_left_s"]
    left = "-" if left_s is None else f"{left_s:.1f} s"
    epoch = "-" if shard["epoch"] is None else str(shard["epoch"])
    return (
        f"{shard['shard_id']:>5} {printable(owner)[:26]:<26} {left:>10} "
        f"{span(shard['stored_age_s']):>8} {span(shard['session_age_s']):>12} {epoch:>13}"
    )


def span(seconds: float | None) -> str:
    """Return a time in words that fit a column."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _draw(now: dict[str, Any], trouble: str) -> None:
    lines = render(now, rows() - bool(trouble))
    if trouble:
        lines.insert(0, fit(trouble, columns() - 1))
    sys.stdout.write(drawn(lines))
    sys.stdout.flush()
