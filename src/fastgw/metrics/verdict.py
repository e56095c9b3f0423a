"""Whether a bot is alive, and whether it is ready: judged of its document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .document import Document

__all__ = ["AWAY_S", "what_is_away", "what_is_stuck"]

# A loop that is silent for so long sends no heartbeats soon; a warning of 5 s comes before it.
SILENT_S = 10.0
# Without an ACK for two intervals a shard replaces its connection itself (see protocol.heartbeat).
# Where it does not, something is stuck; the slack is for a document of some seconds ago.
ACK_INTERVALS = 2.0
ACK_SLACK_S = 15.0
# How long a shard may be away before the bot counts as not ready.
AWAY_S = 60.0


def what_is_stuck(document: Document) -> list[str]:
    """Return what is wrong with event loops and heartbeats, one text each; none: it is alive."""
    problems = [
        f"process {process['index']}: its event loop has been silent for "
        f"{process['silent_for_s']:.1f} s"
        for process in document["processes"]
        if process["phase"] == "running" and process["silent_for_s"] > SILENT_S
    ]
    for shard in document["shards"]:
        age_s, interval_s = shard["last_ack_age_s"], shard["heartbeat_interval_s"]
        if not shard["is_ready"] or shard["reading_paused_by"] or None in (age_s, interval_s):
            continue
        if age_s > ACK_INTERVALS * interval_s + ACK_SLACK_S:
            problems.append(f"shard {shard['shard_id']}: no ACK for {age_s:.1f} s")
    return problems


def what_is_away(document: Document, away_s: float = AWAY_S) -> list[str]:
    """
    Return which shards were never READY, or are not for longer than `away_s`; none: ready.

    Of a consumer: whether its leases are renewed.
    """
    consumers = [p["consumer"] for p in document.get("processes", ()) if p.get("consumer")]
    if consumers:  # it has no shards
        return [problem for one in consumers if (problem := _without_leases(one, away_s))]
    if not document["shards"]:
        return ["no shard has been started yet"]
    problems = []
    for shard in document["shards"]:
        if shard["is_ready"]:
            continue
        if shard["away_for_s"] is None:
            problems.append(f"shard {shard['shard_id']}: has not been READY yet")
        elif shard["away_for_s"] > away_s:
            problems.append(f"shard {shard['shard_id']}: away for {shard['away_for_s']:.1f} s")
    return problems


def _without_leases(consumer: dict[str, Any], away_s: float) -> str | None:
    whose, age_s = f"a consumer of group {consumer['group']}", consumer["lease_age_s"]
    if age_s is None:
        return f"{whose}: has had no mailbox yet"
    return f"{whose}: has not renewed its leases for {age_s:.1f} s" if age_s > away_s else None
