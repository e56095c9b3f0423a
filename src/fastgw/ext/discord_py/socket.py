"""What the library takes for its websocket: one shard of our gateway."""

from __future__ import annotations

import asyncio
import math
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import FastgwError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...shard.face import Shard
    from .library import Library

__all__ = ["socket_class_of"]


class Owner(Protocol):
    """What stands behind all sockets of a client."""

    bot: Any
    library: Library

    def shard(self, number: int) -> Shard | None:
        """Return a shard that runs."""

    async def close(self, number: int) -> None:
        """Stop a shard; with a client that closes, everything."""


class _Closed:
    """What is left of aiohttp's socket: the code that a ConnectionClosed takes from it."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        self.closed = False


class AttachedSocket:
    """
    One shard, as far as the library can see: its own class comes behind this one.

    Presences, requests for chunks and voice states are made by the library's methods, which end in
    `send` and `send_as_json`.
    """

    def __init__(self, link: Owner, shard_id: int | None, shard_count: int | None) -> None:
        # Not the library's: it wants aiohttp's socket, and begins to limit rates.
        client, state = link.bot, link.bot._connection
        self.loop = asyncio.get_running_loop()
        self.socket = _Closed()
        self.thread_id = threading.get_ident()
        self.token = client.http.token
        self.shard_id, self.shard_count = shard_id, shard_count
        self.gateway = getattr(type(self), "DEFAULT_GATEWAY", None)  # forks have none
        # Where the next socket connects: disnake's, py-cord's, nextcord's name for it.
        self.resume_gateway = self.resume_gateway_url = self.resume_url = None
        self.session_id = self.sequence = None
        self.call_hooks = state.call_hooks
        self._connection = state
        self._discord_parsers = state.parsers
        self._dispatch = client.dispatch
        self._dispatch_listeners: list[Any] = []
        self._keep_alive = None
        self._close_code: int | None = None
        self._link = link
        self._number = shard_id or 0
        self._end = self.loop.create_future()

    @property
    def _shard(self) -> Shard | None:
        return self._link.shard(self._number)

    @property
    def open(self) -> bool:
        return not self._end.done()

    @property
    def latency(self) -> float:
        """Seconds of the last heartbeat's round trip; infinite until there was one."""
        shard = self._shard
        latency = None if shard is None else shard.latency
        return math.inf if latency is None else latency

    def is_ratelimited(self) -> bool:
        """Whether a command would wait."""
        shard = self._shard
        return shard is not None and shard.send_room == 0

    async def poll_event(self) -> None:
        """Wait for the end of the shard: everything else happens without the caller."""
        await asyncio.shield(self._end)

    def wait_for(self, *_: Any, **__: Any) -> Any:
        raise UsageError(
            "an attached bot has no DiscordWebSocket.wait_for(); use client.wait_for(), or "
            "attachment.gateway.wait_for()"
        )

    async def send(self, data: str, /) -> None:
        """Send a command; wait while there is no room."""
        encoded = data.encode() if isinstance(data, str) else data
        await self._command(lambda shard: shard.send_encoded(encoded))

    async def send_as_json(self, data: Any) -> None:
        """The same of an object."""
        await self._command(lambda shard: shard.send(data["op"], data["d"]))

    async def _command(self, send: Callable[[Shard], Awaitable[object]]) -> None:
        shard = self._shard
        if shard is None or not self.open:
            raise self._closed(self.socket.close_code)
        try:
            await send(shard)
        except UsageError:
            raise
        except FastgwError as error:
            raise self._closed(self.socket.close_code or 4000) from error

    async def close(self, code: int = 4000) -> None:
        """Stop the shard; with the client, the gateway."""
        self._close_code = code
        self.ended(code)
        await self._link.close(self._number)

    def ended(self, code: int | None) -> None:
        """The shard has stopped: whoever polls hears of the code."""
        if self._end.done():
            return
        self.socket.close_code, self.socket.closed = code, True
        self._end.set_exception(self._closed(code))
        self._end.exception()  # nobody may poll any more

    def _closed(self, code: int | None) -> Exception:
        return self._link.library.connection_closed(self.socket, self.shard_id, code)


@cache
def socket_class_of(base: Any) -> Any:
    """
    Return a class whose objects are the library's websockets, as far as anybody can see.

    It is made after the user has imported the library; nothing of ours imports it.
    """
    return type(base.__name__, (AttachedSocket, base), {"__doc__": base.__doc__})
