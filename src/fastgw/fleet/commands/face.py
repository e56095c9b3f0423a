"""
What a program tells Discord through its gateway, where it is not a single shard that is meant.

`Gateway` offers these methods by standing on this class.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, overload

from ...errors import ShardNotHere, UsageError
from ...shard.face import shard_id_for
from .guild_commands import GuildCommands

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from concurrent.futures import Future
    from typing import Any, ParamSpec, TypeVar

    from ...home import Home
    from ...shard.face import Shard
    from ..fleet import Fleet
    from .members import MemberRequests

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["CommandSender"]


class CommandSender(GuildCommands):
    """Commands of a whole gateway, and the way to the shard of a guild."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def shard_for(self, guild_id: int | str) -> Shard | None:
        """
        Return the shard that a guild's events come on; None when it does not run here.

        From any thread.

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
        What may go is written before this returns, so also where `close()` follows; what waits for
        the limit, or for a session, is not sent by a gateway that closes.

        Args:
            presence: the `d` of op 3, such as `{"status": "idle", "afk": False, "since": None,
                "activities": [{"name": "chess", "type": 0}]}`; a copy of it is kept.
            shard_ids: shards that run here; None means all, and is what may be said before
                `start()`.
        Raises:
            UsageError: no mapping, no JSON, too long, or a shard that does not run here.
        """
        self._fleet.set_presence(presence, None if shard_ids is None else tuple(shard_ids))

    # --- the way to shards -----------------------------------------------------------------------

    def _shard_id_of(self, guild_id: int | str) -> int:
        self.shard_for(guild_id)  # refused before start()
        return shard_id_for(guild_id, self._fleet.shard_count)

    def _way_to(self, shard_id: int, guild_id: int | str | None = None) -> Shard:
        """Return the shard, or raise ShardNotHere."""
        if guild_id is None or self._fleet.shard(shard_id) is not None:
            return self._fleet.running_shard(shard_id)
        running = [shard.id for shard in self._fleet.shards]
        raise ShardNotHere(shard_id, running, guild_id=guild_id)

    def _shard_count_now(self) -> int:
        return self._fleet.shard_count

    @property
    def _home(self) -> Home:
        return self._fleet.home

    def _members(self) -> MemberRequests:
        return self._fleet.members

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
        Call a function in the gateway's loop, from any thread but its own.

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
