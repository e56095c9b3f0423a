"""
The document of `/stats.json`: how a bot is, and what it counted.

Shape (version 1). Ages and durations are seconds, sizes bytes; null is unknown, or never:

    {"version": 1, "fastgw": "0.1.0", "at": seconds since 1970,
     "shard_count": of the whole bot,
     "bounds_s": upper bounds of the buckets of latencies,
     "processes": [{"index", "pid", "phase", "restarts", "silent_for_s",
                    "told_at": seconds since 1970 when the counts of its shards were these,
                    "loop_lag_s",
                    "loop_lag_worst_s", "handlers_running", "handlers_waiting", "unhandled",
                    "unhandled_bytes", "kept_bytes", "reading_held_by": {handler: seconds},
                    "sharing": null where it takes no share of the shards by itself, else
                        {"members", "share", "held", "answer_age_s", "taken", "handed_over",
                         "fenced"},
                    "publisher": null where events do not go to Redis, else PublisherHealth,
                    "consumer": null where they do not come from there, else ConsumerHealth}],
     "shards": [{"shard_id", "process", "status", "is_ready", and each figure of ShardHealth}],
     "identify_budget": {"total", "remaining", "reserve",
                         "seen_at": seconds since 1970 when it was so} or null,
     "refusal": the class of the error that forbids identifies, or null,
     "counts": {"total": ShardStats, "shards": {shard id: ShardStats}, "events": {name: EventStats},
                "latency": {part: {"total_s", "buckets"}}, and the other members of GatewayStats,
                "publisher": PublisherStats or null,
                "consumer": the members of ConsumerStats that GatewayStats has not, or null}}

No text of an error, no session id, no URL and no token is in it.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ..durations import BOUNDS_S
from ..version import __version__

if TYPE_CHECKING:
    from ..health.consumers import ConsumerStats
    from ..health.counts import GatewayStats, ShardStats
    from ..health.figures import GatewayHealth, ShardHealth

__all__ = ["Document", "delivered", "document_of", "envelope", "members"]

Document = dict[str, Any]

VERSION = 1


def envelope(shard_count: int) -> Document:
    """Return what a document says of itself, and of how its figures are to be read."""
    return {
        "version": VERSION,
        "fastgw": __version__,
        "at": time.time(),
        "shard_count": shard_count,
        "bounds_s": list(BOUNDS_S),
    }


def document_of(
    health: GatewayHealth,
    stats: GatewayStats,
    *,
    shard_count: int,
    sharing: dict[str, Any] | None = None,
) -> Document:
    """Return the document of one process; `sharing` is of one that takes a share of the shards."""
    budget, head = health.identify_budget, envelope(shard_count)
    return {
        **head,
        "processes": [
            {
                "index": 0,
                "pid": os.getpid(),
                "phase": "running",
                "restarts": 0,
                "silent_for_s": health.loop_silent_for_s,
                "told_at": head["at"],
                "loop_lag_s": health.loop_lag_s,
                "loop_lag_worst_s": health.loop_lag_worst_s,
                "handlers_running": health.handlers_running,
                "handlers_waiting": health.handlers_waiting,
                "unhandled": health.unhandled,
                "unhandled_bytes": health.unhandled_bytes,
                "kept_bytes": health.kept_bytes,
                "reading_held_by": health.reading_held_by,
                "sharing": sharing,
                "publisher": None if health.publisher is None else asdict(health.publisher),
                "consumer": None,
            }
        ],
        "shards": [_shard(shard) for shard in health.shards],
        "identify_budget": None
        if budget is None
        else {
            "total": budget.total,
            "remaining": budget.remaining,
            "reserve": budget.reserve,
            "seen_at": head["at"] - (time.monotonic() - budget.seen_at),
        },
        "refusal": None if health.refusal is None else type(health.refusal).__name__,
        "counts": _counts(stats),
    }


def _shard(shard: ShardHealth) -> dict[str, Any]:
    hidden = ("status", "last_error", "reading_paused_by")  # what an error says may hold anything
    names = [field.name for field in fields(shard) if field.name not in hidden]
    return {
        **{name: getattr(shard, name) for name in names},
        "reading_paused_by": list(shard.reading_paused_by),
        "process": 0,
        "status": shard.status.value,
        "is_ready": shard.is_ready,
    }


def _counts(stats: GatewayStats) -> dict[str, Any]:
    counts = members(stats)
    counts["publisher"] = None if stats.publisher is None else members(stats.publisher)
    counts["consumer"] = None
    counts["total"] = _counts_of(stats.total)
    counts["shards"] = {str(shard.shard_id): _counts_of(shard) for shard in stats.shards}
    return counts | delivered(stats)


def delivered(stats: GatewayStats | ConsumerStats) -> dict[str, Any]:
    """Return the counts of each event name, and where the time went."""
    return {
        "events": {name: members(event) for name, event in stats.events.items()},
        "latency": {
            part: {"total_s": timing.total_s, "buckets": list(timing.buckets)}
            for part, timing in members(stats.latency).items()
        },
    }


def _counts_of(shard: ShardStats) -> dict[str, Any]:
    counts = members(shard)
    del counts["shard_id"]
    counts["close_codes"] = {str(code): count for code, count in shard.close_codes.items()}
    return counts


def members(value: Any) -> dict[str, Any]:
    """Return the members of figures."""
    # Not dataclasses.asdict, which copies all there is: a worker makes a document every 5 s on its
    # event loop, and of 256 shards that took 42 ms, this 7.
    return {field.name: getattr(value, field.name) for field in fields(value)}
