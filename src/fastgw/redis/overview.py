"""What one bot has in a Redis, seen from outside: shards, groups and what is left of the day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .lag import Depth, lag_of

if TYPE_CHECKING:
    from .server import Server

__all__ = ["read_overview"]

_KEYS = ["lease", "owner", "who", "seen", "budget", "log", "turn", "groups", "about", "owners"]
SHARDS_A_CALL = 100  # nothing else runs in the server meanwhile


def read_overview(server: Server) -> dict[str, Any]:
    """
    Return how a bot is, from Redis alone; nothing is changed there.

    Returns:
        {"version": 1, "redis": URL without its password, "at": seconds since 1970 by the server's
         clock, "shard_count", "members": processes that have a lease,
         "shards": [{"shard_id", "owner": who runs it, or null, "lease_left_s": until it is
                     another's, or null without a lease, "stored_age_s": since its session was
                     stored, or null, "is_published": whether a publisher takes commands for it,
                     "epoch": when its session began, in ms since 1970, or null where its events go
                     to no stream, "session_age_s": since then, or null}],
         "groups": [{"group", "consumers": that live, "mailboxes": that they have, and what
                     `GroupLag` has}],
         "identify_budget": {"total", "remaining"} or null}
    Raises:
        UsageError: the server cannot be used, or there is no bot under the prefix.
        redis.RedisError: it is away.
    """
    now, leases, owners, who, seen, budget, groups, said, published = server.script(
        "look", _KEYS, []
    )
    until, owner, names, stored = (_pairs(one) for one in (leases, owners, who, seen))
    found = {*until, *owner, *stored, *published}
    if not (found or budget or groups or said):
        raise UsageError(
            f"{server.shown} has no bot under the keys {server.key('*')}: nothing runs with it, "
            "or with another --redis-prefix"
        )
    counts = {who_it_is(text).get("count", "?") for text in names.values()} - {"?"}
    count = int(said or max((int(one) for one in counts), default=0))
    ids = sorted({*range(count), *map(int, found)})
    epochs = _epochs(server, ids)
    shards = []
    for shard_id in ids:
        name, epoch = str(shard_id), epochs[shard_id]
        left_ms = float(until[name]) - now if name in until else 0.0
        has_lease = left_ms > 0 and name in owner
        text = names.get(owner.get(name, ""), "{}")
        shards.append(
            {
                "shard_id": shard_id,
                "owner": who_it_is(text).get("name", "another process") if has_lease else None,
                "lease_left_s": left_ms / 1000 if has_lease else None,
                "stored_age_s": max(0.0, (now - float(stored[name])) / 1000)
                if name in stored
                else None,
                "is_published": name in published,
                "epoch": epoch,
                "session_age_s": None if epoch is None else max(0.0, (now - epoch) / 1000),
            }
        )
    return {
        "version": 1,
        "redis": server.shown,
        "at": now / 1000,
        "shard_count": len(ids),
        "members": len({shard["owner"] for shard in shards} - {None}),
        "shards": shards,
        "groups": [_group(server, group, ids) for group in sorted(groups)],
        "identify_budget": dict(zip(("total", "remaining"), budget, strict=True))
        if budget
        else None,
    }


def who_it_is(text: str) -> dict[str, str]:
    """Return name and number of shards of an owner, as it said itself; nothing of what is odd."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _epochs(server: Server, ids: list[int]) -> dict[int, int | None]:
    found: list[str] = []
    for at in range(0, len(ids), SHARDS_A_CALL):
        keys = [f"shard:{shard_id}" for shard_id in ids[at : at + SHARDS_A_CALL]]
        found += server.script("epochs", keys, [])
    return {i: int(epoch) if epoch else None for i, epoch in zip(ids, found, strict=True)}


def _group(server: Server, group: str, ids: list[int]) -> dict[str, Any]:
    consumers, mailboxes = server.script(
        "look_group", [f"group:{group}:members", f"group:{group}:leases"], []
    )
    flat: list[Any] = []
    for at in range(0, len(ids), SHARDS_A_CALL):
        some = ids[at : at + SHARDS_A_CALL]
        keys = [key for i in some for key in (f"shard:{i}", f"mailbox:{group}:{i}")]
        flat += server.script("lag", keys, [])
    lag = lag_of([Depth(*flat[at : at + 5]) for at in range(0, len(flat), 5)], ids)
    return {
        "group": group,
        "consumers": consumers,
        "mailboxes": mailboxes,
        "entries": lag.entries,
        "bytes": lag.bytes,
        "lost": lag.lost,
        "oldest_age_s": lag.oldest_age_s,
        "deepest": lag.deepest,
    }
