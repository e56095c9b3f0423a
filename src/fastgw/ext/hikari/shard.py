"""
A hikari shard that is kept connected by fastgw.

Checks and payloads of commands stay hikari's. `_keep_alive`, in hikari the loop that connects again
and again, waits here for the end of fastgw's shard; what it raises is what hikari would.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from hikari import errors
from hikari.applications import get_token_id
from hikari.impl.shard import GatewayShardImpl

from ...errors import FatalError, SessionLost
from ...protocol.states import State
from ...protocol.wire import Opcode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...shard.face import Shard, StatusChange

__all__ = ["AttachedShard", "ShardKeeper"]


class ShardKeeper(Protocol):
    """What an attached shard needs of who has the gateway."""

    async def take(self, shard: AttachedShard) -> Shard:
        """Start a shard; return fastgw's."""

    async def drop(self, shard: AttachedShard) -> None:
        """Stop a shard; return when nothing is left of it."""

    def set_presence(self, shard: AttachedShard, presence: Mapping[str, Any]) -> None:
        """Show a presence on one shard, also after sessions were lost."""


class AttachedShard(GatewayShardImpl):
    """One shard of an attached bot."""

    __slots__ = ("_connected", "_ended", "_fastgw", "_link", "_task", "_told")

    def __init__(self, link: ShardKeeper, **options: Any) -> None:
        super().__init__(**options)
        self._link = link
        self._fastgw: Shard | None = None
        self._ended: asyncio.Future[BaseException | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._told: asyncio.Future[Any] | None = None
        self._connected: asyncio.Handle | None = None  # what tells so, next
        # READY says it as well, but does not come for a session that is resumed from a store.
        self._user_id = get_token_id(self._token)

    @property
    def is_connected(self) -> bool:
        """Whether commands can be sent."""
        return self._fastgw is not None and self._fastgw.status is State.READY

    @property
    def heartbeat_latency(self) -> float:
        """Seconds of the last heartbeat's round trip; nan when unknown."""
        latency = None if self._fastgw is None else self._fastgw.latency
        return float("nan") if latency is None else latency

    async def _send_json(self, data: Any, *, priority: bool = False) -> None:
        # Its encoder knows snowflakes and enums.
        encoded = self._dumps(data)
        if data["op"] == Opcode.PRESENCE_UPDATE:
            self._link.set_presence(self, orjson.loads(encoded)["d"])
            return
        assert self._fastgw is not None
        try:
            await self._fastgw.send_encoded(bytes(encoded))
        except SessionLost as error:
            raise errors.ComponentStateConflictError(
                f"shard {self.id} lost its session before the command was sent"
            ) from error

    # --- its life --------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        self._task = asyncio.current_task()
        self._ended = asyncio.get_running_loop().create_future()
        try:
            self._fastgw = await self._link.take(self)
            error = await self._ended
        except asyncio.CancelledError:
            self._is_closing = True
            return
        finally:
            await self._link.drop(self)
            self._fastgw = None
            if self._told is not None:
                await self._told  # close() returns when listeners have heard of it
        if error is not None:
            raise _as_hikari(error) from error

    async def abandon(self) -> None:
        """End what `start()` began and did not finish."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def moved(self, change: StatusChange) -> None:
        """Take a change of fastgw's shard; tell listeners as hikari does."""
        self._fastgw = change.shard
        assert self._handshake_event is not None
        if change.new is State.READY:
            self._handshake_event.set()
            # After READY or RESUMED, which is delivered when this returns.
            self._connected = asyncio.get_running_loop().call_soon(self._tell_connected)
        elif change.old is State.READY:
            self._handshake_event.clear()
            if self._connected is not None:
                self._connected.cancel()
                self._tell_connected()
            event = self._event_factory.deserialize_disconnected_event(self)
            self._told = self._event_manager.dispatch(event, return_tasks=True)
        if change.new is State.STOPPED and self._ended is not None and not self._ended.done():
            self._ended.set_result(change.error)

    def presence(self) -> Any:
        """Return the `d` of op 3 that hikari would identify with."""
        return orjson.loads(self._dumps({"d": self._serialize_and_store_presence_payload()}))["d"]

    def _tell_connected(self) -> None:
        self._connected = None
        event = self._event_factory.deserialize_connected_event(self)
        self._told = self._event_manager.dispatch(event, return_tasks=True)


def _as_hikari(error: BaseException) -> errors.GatewayError:
    """Return what hikari would raise for the end of a shard."""
    if isinstance(error, FatalError) and error.close_code is not None:
        try:
            code: int = errors.ShardCloseCode(error.close_code)
        except ValueError:
            code = error.close_code
        return errors.GatewayServerClosedConnectionError(str(error), code, can_reconnect=False)
    return errors.GatewayError(str(error))
