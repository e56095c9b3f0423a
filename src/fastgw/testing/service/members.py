"""
How the service answers op 8 (members), op 31 (soundboard sounds) and op 43 (channel info).

Members of a guild are those that the test gave (`FakeService.members`), or those of its
GUILD_CREATE. A guild that is on another shard, or that nobody knows, gets no answer at all; nor
does a request for what an intent is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ...protocol.wire import Opcode
from ...words import Intents

if TYPE_CHECKING:
    from ..traffic.traffic import Dispatch
    from .session import FakeSession

__all__ = ["Answers", "Roster", "answer_command"]

# Discord docs, "Request Guild Members".
MAX_FOUND = 100
MAX_NONCE_BYTES = 32
# No real id is smaller; the service gives such a one back as a number (docs, the same page).
_LEAST_SNOWFLAKE = 1 << 22


class Answers(Protocol):
    """What the service knows, and how it answers."""

    members_per_chunk: int
    members_interval_s: float
    roster: Roster

    def append(self, session: FakeSession, name: str, data: bytes) -> None:
        """Send a dispatch in a session."""


class Roster:
    """
    Who is a member of which guild, and when all of them were asked for.

    Args:
        members: guild member objects by guild id.
        guilds: GUILD_CREATE dispatches, whose members count for guilds that `members` lacks.
    """

    def __init__(
        self, members: Mapping[int, Iterable[dict[str, Any]]], guilds: Iterable[Dispatch]
    ) -> None:
        self.members = {guild_id: list(each) for guild_id, each in members.items()}
        self._guilds = {guild.guild_id: guild for guild in guilds}
        self._asked_at: dict[int, float] = {}

    def of(self, guild_id: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
        """Return members and presences of a guild; None when it is unknown."""
        if guild_id in self.members:
            return self.members[guild_id], []
        if (guild := self._guilds.get(guild_id)) is None:
            return None
        data = orjson.loads(guild.data)
        return data.get("members", []), data.get("presences", [])

    def wait_s(self, guild_id: int, now: float, interval_s: float) -> float:
        """Count a request for all members; return how much too early it comes, 0 when it may."""
        last = self._asked_at.get(guild_id)
        if last is not None and now - last < interval_s:
            return interval_s - (now - last)
        self._asked_at[guild_id] = now
        return 0.0


def answer_command(
    service: Answers, session: FakeSession, op: int, data: object, now: float
) -> None:
    """Answer a command of a session as the service does."""
    if not isinstance(data, dict):
        return
    if op == Opcode.REQUEST_GUILD_MEMBERS:
        _answer_members(service, session, data, now)
    elif op == Opcode.REQUEST_SOUNDBOARD_SOUNDS:
        for guild_id in data.get("guild_ids") or ():
            if session.is_for(_number(guild_id)):
                answer = {"soundboard_sounds": [], "guild_id": guild_id}
                service.append(session, "SOUNDBOARD_SOUNDS", orjson.dumps(answer))
    elif op == Opcode.REQUEST_CHANNEL_INFO and session.is_for(_number(data.get("guild_id"))):
        answer = {"guild_id": data.get("guild_id"), "channels": []}
        service.append(session, "CHANNEL_INFO", orjson.dumps(answer))


def _answer_members(
    service: Answers, session: FakeSession, asked: dict[str, Any], now: float
) -> None:
    guild_id = _number(asked.get("guild_id"))
    known = service.roster.of(guild_id)
    if known is None or not session.is_for(guild_id):
        return
    nonce = _nonce(asked.get("nonce"))
    answer: dict[str, Any] = {"guild_id": str(guild_id)}
    if "user_ids" in asked:
        found, answer["not_found"] = _by_id(known[0], asked["user_ids"])
    elif isinstance(query := asked.get("query"), str):
        limit = asked.get("limit") or 0
        if not query and not session.intents & Intents.GUILD_MEMBERS:
            return
        if not query and not limit:
            wait_s = service.roster.wait_s(guild_id, now, service.members_interval_s)
            if wait_s > 0:
                meta = {"guild_id": str(guild_id), **nonce}
                limited = {"opcode": 8, "retry_after": round(wait_s, 3), "meta": meta}
                service.append(session, "RATE_LIMITED", orjson.dumps(limited))
                return
        found = _by_prefix(known[0], query, limit)
        answer["not_found"] = []
    else:
        return
    with_presences = bool(asked.get("presences") and session.intents & Intents.GUILD_PRESENCES)
    presences = {presence["user"]["id"]: presence for presence in known[1]}
    size = service.members_per_chunk
    chunks = [found[i : i + size] for i in range(0, len(found), size)] or [[]]
    for index, members in enumerate(chunks):
        ids = [member["user"]["id"] for member in members] if with_presences else []
        extra = {"presences": [presences.get(i) or _online(i) for i in ids]}
        chunk = {
            **nonce,
            **(extra if with_presences else {}),
            "members": members,
            **(answer if index == len(chunks) - 1 else {**answer, "not_found": []}),
            "chunk_index": index,
            "chunk_count": len(chunks),
        }
        service.append(session, "GUILD_MEMBERS_CHUNK", orjson.dumps(chunk))


def _number(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):
        return -1


def _nonce(nonce: object) -> dict[str, str]:
    """Return what answers carry of it: one that is no such text is ignored."""
    if isinstance(nonce, str) and len(nonce.encode()) <= MAX_NONCE_BYTES:
        return {"nonce": nonce}
    return {}


def _by_id(
    members: list[dict[str, Any]], asked: object
) -> tuple[list[dict[str, Any]], list[str | int]]:
    ids = asked if isinstance(asked, list) else [asked]
    by_id = {member["user"]["id"]: member for member in members}
    wanted = list(dict.fromkeys(str(user_id) for user_id in ids))[:MAX_FOUND]
    missing = [user_id for user_id in wanted if user_id not in by_id]
    return (
        [by_id[user_id] for user_id in wanted if user_id in by_id],
        [i if _number(i) >= _LEAST_SNOWFLAKE else _number(i) for i in missing],
    )


def _by_prefix(members: list[dict[str, Any]], query: str, limit: int) -> list[dict[str, Any]]:
    if not query:
        return members[:limit] if limit else members
    prefix = query.casefold()

    def names(member: dict[str, Any]) -> Iterable[str]:
        user = member["user"]
        return filter(None, (member.get("nick"), user.get("global_name"), user.get("username")))

    found = [m for m in members if any(n.casefold().startswith(prefix) for n in names(m))]
    return found[: min(limit or MAX_FOUND, MAX_FOUND)]


def _online(user_id: str) -> dict[str, Any]:
    return {
        "user": {"id": user_id},
        "status": "online",
        "client_status": {"desktop": "online"},
        "activities": [],
    }
