"""What a user asks for in a command, checked when it is asked: ids, and queries of members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import UsageError
from ...quoting import quote
from ...words import Intents
from .members import MemberQuery

__all__ = ["check_id", "check_ids", "check_query"]

# Discord docs, "Request Guild Members": both a prefix and user ids give 100 members at most.
MAX_MEMBERS = 100


def check_id(name: str, value: object) -> str:
    """Return an id as Discord writes it, or raise UsageError."""
    number = int(value) if _looks_like_id(value) else -1  # type: ignore[call-overload]
    if not 0 <= number < 1 << 64:
        raise UsageError(f"{name}={quote(value)} is not an id")
    return str(number)


def _looks_like_id(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) <= 20
    return isinstance(value, int) and not isinstance(value, bool)


def check_ids(name: str, values: object) -> list[str]:
    """Return ids, each once, or raise UsageError."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise UsageError(f"{name}={quote(values)} are no ids: pass a list of them")
    return list(dict.fromkeys(check_id(name, value) for value in values))


def check_query(
    intents: Intents,
    guild_id: int | str,
    shard_id: int,
    *,
    query: object,
    limit: object,
    user_ids: Iterable[int | str] | None,
    presences: bool,
    timeout_s: object,
    on_rate_limit: object,
) -> MemberQuery:
    """Return what `request_members` was asked for, or raise UsageError where no answer can come."""
    if on_rate_limit not in ("wait", "raise"):
        raise UsageError(f'on_rate_limit={quote(on_rate_limit)} is neither "wait" nor "raise"')
    if timeout_s is not None and (not isinstance(timeout_s, (int, float)) or not timeout_s > 0):
        raise UsageError(
            f"timeout_s={quote(timeout_s)} is not a number of seconds above 0, or None"
        )
    if presences and not intents & Intents.GUILD_PRESENCES:
        raise UsageError("presences=True gives none without the intent GUILD_PRESENCES")
    data: dict[str, Any] = {"guild_id": check_id("guild_id", guild_id)}
    if user_ids is not None:
        if query != "" or limit != 0:
            raise UsageError("pass query and limit, or user_ids, not both")
        data["user_ids"] = ids = check_ids("user_ids", user_ids)
        if not 1 <= len(ids) <= MAX_MEMBERS:
            raise UsageError(f"{len(ids)} user_ids: a request takes 1 to {MAX_MEMBERS} of them")
    else:
        data["query"], data["limit"] = _check_prefix(intents, query, limit)
    if presences:
        data["presences"] = True
    return MemberQuery(int(data["guild_id"]), shard_id, data, timeout_s, on_rate_limit == "wait")


def _check_prefix(intents: Intents, query: object, limit: object) -> tuple[str, int]:
    if not isinstance(query, str):
        raise UsageError(f"query={quote(query)} is not a str, what names begin with")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise UsageError(f"limit={quote(limit)} is not a number of members")
    if query and not 1 <= limit <= MAX_MEMBERS:
        raise UsageError(f"limit={limit}: a query gives 1 to {MAX_MEMBERS} members; say how many")
    if not query and not intents & Intents.GUILD_MEMBERS:
        raise UsageError(
            "all members are given only with the intent GUILD_MEMBERS; without it ask for some, "
            "by query= and limit=, or by user_ids="
        )
    return query, limit
