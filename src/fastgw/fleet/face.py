"""
What a program tells Discord through its gateway, where it is not a single shard that is meant.

`Gateway` offers these methods by standing on this class.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, overload

from ..errors import ShardNotHere, UsageError
from ..protocol.wire import Opcode
from ..quoting import quote
from ..shard.face import shard_id_for
from .queries import check_id, check_ids, check_query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Future
    from typing import Any, Literal, ParamSpec, TypeVar

    from ..shard.face import Shard
    from .fleet import Fleet
    from .members import MemberRequest

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["CommandSender"]

# Of guilds in one command: at 23 bytes each they fill most of its 4096.
_IDS = 150


class CommandSender:
    """Commands of a whole gateway, and the way to the shard of a guild."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def shard_for(self, guild_id: int | str) -> Shard | None:
        """
        Return the shard that a guild's events come on; None when it does not run here.

        Raises:
            UsageError: not an id, or the gateway was not started yet.
        """
        if not self._fleet.shard_count:
            raise UsageError("the number of shards is not known before start()")
        return self._fleet.shard(shard_id_for(guild_id, self._fleet.shard_count))

    def set_presence(
        self, presence: Mapping[str, Any], *, shard_ids: Iterable[int] | None = None
    ) -> None:
        """
        Show a presence from now on, on these shards or on all; return at once.

        Shards whose session is up send it within Discord's limit of 5 in 20 s, the latest only;
        every later IDENTIFY says it, also after sessions were lost and of shards started later.

        Args:
            presence: the `d` of op 3, such as `{"status": "idle", "afk": False, "since": None,
                "activities": [{"name": "chess", "type": 0}]}`; a copy of it is kept.
            shard_ids: shards that run here; None means all, and is what may be said before
                `start()`.
        Raises:
            UsageError: no mapping, no JSON, too long, or a shard that does not run here.
        """
        self._fleet.set_presence(presence, None if shard_ids is None else tuple(shard_ids))

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
        guild_id = d.get("guild_id") if isinstance(d, Mapping) else None
        if shard_id is not None:
            shard = self._fleet.running_shard(shard_id)
        elif guild_id is not None:
            shard = self._shard_of(guild_id)
        elif self._fleet.shard_count == 1:
            shard = self._fleet.running_shard(0)
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
        data = {
            "guild_id": check_id("guild_id", guild_id),
            "channel_id": None if channel_id is None else check_id("channel_id", channel_id),
            "self_mute": bool(self_mute),
            "self_deaf": bool(self_deaf),
        }
        await self._shard_of(guild_id).send(Opcode.VOICE_STATE_UPDATE, data)

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
        by_shard: dict[Shard, list[str]] = {}
        for guild_id in check_ids("guild_ids", guild_ids):
            by_shard.setdefault(self._shard_of(guild_id), []).append(guild_id)
        await asyncio.gather(
            *(
                shard.send(Opcode.REQUEST_SOUNDBOARD_SOUNDS, {"guild_ids": ids[i : i + _IDS]})
                for shard, ids in by_shard.items()
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
        asked = [fields] if isinstance(fields, str) else list(fields)
        if not asked:
            raise UsageError('request_channel_info() needs fields such as ["status"]')
        data = {"guild_id": check_id("guild_id", guild_id), "fields": asked}
        await self._shard_of(guild_id).send(Opcode.REQUEST_CHANNEL_INFO, data)

    def request_members(
        self,
        guild_id: int | str,
        *,
        query: str = "",
        limit: int = 0,
        user_ids: Iterable[int | str] | None = None,
        presences: bool = False,
        timeout: float | None = 10.0,
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
            timeout: seconds without any chunk, from the moment it is sent, while the session is
                up; None waits for ever.
            on_rate_limit: "wait" until it may be asked, "raise" MembersRateLimited instead.
        Raises:
            ShardNotHere: the guild's shard does not run here.
            UsageError: what Discord would not answer, such as an intent that is missing.
        """
        shard = self._shard_of(guild_id)
        asked = check_query(
            self._fleet.members.intents,
            guild_id,
            shard.id,
            query=query,
            limit=limit,
            user_ids=user_ids,
            presences=presences,
            timeout=timeout,
            on_rate_limit=on_rate_limit,
        )
        return self._fleet.members.request(asked)

    def _shard_of(self, guild_id: int | str) -> Shard:
        """Return the shard of a guild, or raise ShardNotHere."""
        if (shard := self.shard_for(guild_id)) is None:
            shard_id = shard_id_for(guild_id, self._fleet.shard_count)
            running = [shard.id for shard in self._fleet.shards]
            raise ShardNotHere(shard_id, running, guild_id=guild_id)
        return shard

    # --- other threads ---------------------------------------------------------------------------

    @overload
    def call_threadsafe(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]: ...

    @overload
    def call_threadsafe(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...

    def call_threadsafe(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """
        Call a function in the gateway's loop, from another thread; everything else here is not
        safe to call from there.

        `gateway.call_threadsafe(shard.send, op, d).result(timeout=10)` waits for what it returns,
        or what its coroutine does; cancelling the future cancels the coroutine.

        Raises:
            UsageError: the gateway was not started or has ended, or this is its own thread, where
                waiting for the future would stop everything.
        """
        loop = self._fleet.home.loop
        if loop is None:
            raise UsageError("nothing can be called in the gateway's loop before start()")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise UsageError("this is the thread of the gateway's loop: call the function itself")
        call = _call(function, args, kwargs)
        try:
            return asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError as error:
            call.close()
            raise UsageError("the gateway's loop has ended: nothing can be called in it") from error


async def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result
