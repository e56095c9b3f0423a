"""
What a program tells Discord through its shards, wherever they run.

`Gateway` and `Consumer` offer these methods by standing on this class: the one has the shards in
its own process, the other asks the processes that have them. What each adds is the way there.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ...errors import UsageError
from ...protocol.wire import Opcode
from ...quoting import quote
from .queries import check_id, check_ids, check_query

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from ...home import Home
    from ...words import Intents
    from .members import MemberQuery, MemberRequest

__all__ = ["GuildCommands", "MemberSource", "WayToShard"]

# Of guilds in one command: at 23 bytes each they fill most of its 4096.
_IDS = 150


class WayToShard(Protocol):
    """What takes commands for one shard, such as a `Shard`."""

    async def send(self, op: int, d: object = None, *, wait: bool = True) -> None:
        """Send a command; return when it is written."""


class MemberSource(Protocol):
    """What asks for members, and answers."""

    @property
    def intents(self) -> Intents:
        """Of the bot, as far as they are known here."""

    def request(self, query: MemberQuery) -> MemberRequest:
        """Return a request that is not under way yet."""


class GuildCommands(ABC):
    """Commands that find their shard by themselves."""

    # --- the way there, which a subclass knows ---------------------------------------------------

    @abstractmethod
    def _shard_id_of(self, guild_id: int | str) -> int:
        """Return the shard that a guild is on."""

    @abstractmethod
    def _way_to(self, shard_id: int, guild_id: int | str | None = None) -> WayToShard:
        """Return what takes commands for a shard; the guild is for an error's text."""

    @abstractmethod
    def _shard_count_now(self) -> int:
        """Return how many shards the bot has; 0 while that is not known."""

    @property
    @abstractmethod
    def _home(self) -> Home:
        """The loop in which they are called."""

    @abstractmethod
    def _members(self) -> MemberSource:
        """Return what asks for members."""

    # --- commands of one guild -------------------------------------------------------------------

    async def send(
        self, op: int, d: object = None, *, shard_id: int | None = None, wait: bool = True
    ) -> None:
        """
        Send a command on the shard that it belongs to; see `Shard.send`.

        Args:
            op, d, wait: as there. The shard is that of `d["guild_id"]`.
            shard_id: the shard instead, for what is about no guild.
        Raises:
            ShardNotHere: that shard does not run here.
            UsageError: it is not said which shard, or it is a command that `Shard.send` refuses.
            SendQueueFull, SessionLost: as for `Shard.send`.
        """
        self._home.check_loop("send")
        guild_id = d.get("guild_id") if isinstance(d, Mapping) else None
        if shard_id is not None:
            shard = self._way_to(shard_id)
        elif guild_id is not None:
            shard = self._way_of(guild_id)
        elif self._shard_count_now() == 1:
            shard = self._way_to(0)
        else:
            raise UsageError(
                f"op {quote(op)} without guild_id in its data is for no shard in particular: pass "
                "shard_id="
            )
        await shard.send(op, d, wait=wait)

    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str | None,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
    ) -> None:
        """
        Join a voice channel of a guild, move there, or leave with None; return when it is sent.

        It goes before other commands. While it waits to be sent, a later one of the guild takes its
        place. Discord answers with VOICE_STATE_UPDATE and VOICE_SERVER_UPDATE.

        Raises:
            ShardNotHere: the guild's shard does not run here.
            UsageError: not an id.
            SessionLost: the session ended, or the shard stopped, before it was sent.
        """
        self._home.check_loop("update_voice_state")
        data = {
            "guild_id": check_id("guild_id", guild_id),
            "channel_id": None if channel_id is None else check_id("channel_id", channel_id),
            "self_mute": bool(self_mute),
            "self_deaf": bool(self_deaf),
        }
        await self._way_of(guild_id).send(Opcode.VOICE_STATE_UPDATE, data)

    async def request_soundboard_sounds(self, guild_ids: Iterable[int | str]) -> None:
        """
        Ask for the soundboard sounds of guilds; SOUNDBOARD_SOUNDS comes for each of them.

        Guilds may be of several shards, and as many as there are: each shard is sent as many
        commands as it takes. Returns when all are sent.

        Raises:
            ShardNotHere: the shard of one of them does not run here; nothing was sent then.
            UsageError: not ids.
            SessionLost: a session ended before it was sent; of other shards it was.
        """
        self._home.check_loop("request_soundboard_sounds")
        by_shard: dict[int, list[str]] = {}
        for guild_id in check_ids("guild_ids", guild_ids):
            by_shard.setdefault(self._shard_id_of(guild_id), []).append(guild_id)
        ways = [(self._way_to(shard_id, ids[0]), ids) for shard_id, ids in by_shard.items()]
        await asyncio.gather(
            *(
                way.send(Opcode.REQUEST_SOUNDBOARD_SOUNDS, {"guild_ids": ids[i : i + _IDS]})
                for way, ids in ways
                for i in range(0, len(ids), _IDS)
            )
        )

    async def request_channel_info(
        self,
        guild_id: int | str,
        fields: Iterable[Literal["status", "voice_start_time"]] = ("status", "voice_start_time"),
    ) -> None:
        """
        Ask for what channels of a guild show at the moment; CHANNEL_INFO comes.

        Raises:
            ShardNotHere: the guild's shard does not run here.
            UsageError: not an id, or no fields.
            SessionLost: the session ended, or the shard stopped, before it was sent.
        """
        self._home.check_loop("request_channel_info")
        asked = [fields] if isinstance(fields, str) else list(fields)
        if not asked:
            raise UsageError('request_channel_info() needs fields such as ["status"]')
        data = {"guild_id": check_id("guild_id", guild_id), "fields": asked}
        await self._way_of(guild_id).send(Opcode.REQUEST_CHANNEL_INFO, data)

    def request_members(
        self,
        guild_id: int | str,
        *,
        query: str = "",
        limit: int = 0,
        user_ids: Iterable[int | str] | None = None,
        presences: bool = False,
        timeout_s: float | None = 10.0,
        on_rate_limit: Literal["wait", "raise"] = "wait",
    ) -> MemberRequest:
        """
        Ask for members of a guild: `await` it for a list, `async for` it for chunks of up to 1,000.

        Without `query` and `user_ids` it is for all members, which needs the intent GUILD_MEMBERS,
        and which Discord allows once in 30 seconds a guild; requests that come earlier wait. See
        `MemberRequest` for how it ends, and docs/commands.md.

        Args:
            query: what user or nick names begin with.
            limit: how many at the most, of a query; 1 to 100.
            user_ids: up to 100 users instead; `MembersChunk.not_found` names those that are none.
            presences: with presences, in chunks; needs the intent GUILD_PRESENCES.
            timeout_s: seconds without any chunk, from the moment it is sent, while the session is
                up; None waits for ever.
            on_rate_limit: "wait" until it may be asked, "raise" MembersRateLimited instead.
        Raises:
            ShardNotHere: the guild's shard does not run here.
            UsageError: what Discord would not answer, such as an intent that is missing.
        """
        self._home.check_thread("request_members")
        shard_id = self._shard_id_of(guild_id)
        self._way_to(shard_id, guild_id)
        members = self._members()
        asked = check_query(
            members.intents,
            guild_id,
            shard_id,
            query=query,
            limit=limit,
            user_ids=user_ids,
            presences=presences,
            timeout_s=timeout_s,
            on_rate_limit=on_rate_limit,
        )
        return members.request(asked)

    def _way_of(self, guild_id: int | str) -> WayToShard:
        return self._way_to(self._shard_id_of(guild_id), guild_id)
