"""What stands behind all sockets of one client: the gateway, and the way of events to parsers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from ..._decode import Event, ValueSet
from ...delivery.filters import field
from ...errors import UsageError
from ...fleet.http.gateway_info import GatewayInfo
from ...fleet.ports import IdentifyQueue
from ...fleet.turns.identify import LocalIdentifyQueue
from ...gateway import Gateway
from ...log import careful_logger
from ...protocol.events import EVENT_INTENTS
from ...protocol.states import State
from ...shard.face import Shard, StatusChange
from ...shard.ports import IdentifyTurn
from ...words import Intents
from ..link import Link
from ..verdict import Choice, Wanted
from . import seam
from .interests import Interests
from .library import Library
from .socket import socket_class_of

__all__ = ["DiscordPyLink"]

log = careful_logger("fastgw.attach")

# How often listeners are looked for that came or went without anybody being told.
LOOK_S = 1.0
LARGE_THRESHOLD = 250  # as the libraries say


class DiscordPyLink(Link):
    """A client of the family; each time that it connects it has a new gateway."""

    def __init__(self, bot: Any, choice: Choice, options: Mapping[str, Any]) -> None:
        super().__init__(bot, choice, options)
        self.library: Library = Library(bot)
        _refuse(bot, self.library, options)
        self._sockets: dict[int, Any] = {}
        self._own = ValueSet()  # the bot's id, once it is known
        self._looking: asyncio.TimerHandle | None = None
        self._state = bot._connection
        self._wanted: dict[str, tuple[Wanted, tuple[str, ...]]] = {}
        self._tells_all = False  # names of events without a parser, too
        self._opening = asyncio.Lock()
        self._interests = Interests(bot, self.library, choice)

    @classmethod
    def of(cls, bot: Any) -> DiscordPyLink | None:
        link: DiscordPyLink | None = seam.link_of(bot)
        return link

    @property
    def is_running(self) -> bool:
        return seam.is_running(self.bot)

    @property
    def intents(self) -> int:
        return int(self.bot.intents.value)

    @property
    def interests(self) -> Interests:
        return self._interests

    def install(self) -> None:
        if not self.library.is_tested:
            log.warning(
                "%s was not tested with fastgw: parsers that it does not know get every event",
                self.library,
            )
        self._interests.watch(self._apply)
        seam.install(self.bot, self.library, self)

    def uninstall(self) -> None:
        seam.uninstall(self.bot)
        self._interests.forget()

    def shard(self, number: int) -> Shard | None:
        """Return a shard that runs."""
        return self._running().get(number)

    def _running(self) -> dict[int, Shard]:
        shards = () if self.made is None else self.made.shards
        return {shard.id: shard for shard in shards if shard.status is not State.STOPPED}

    # --- opening and closing ---------------------------------------------------------------------

    async def open(self, shard_id: int | None) -> Any:
        """
        Return the socket of a shard, which connects by itself; the first starts the gateway.

        Raises:
            CancelledError: the client was closed meanwhile. Of any other error the libraries make
                another attempt, closed or not.
        """
        number = shard_id or 0
        async with self._opening:
            running = self._running()
            if self.made is None or not running:
                self._stop_looking()
                if self.made is not None:
                    with suppress(UsageError):  # it ended in another loop
                        await self.made.close()  # without shards it would go on
                self.made = await self._make(number)
            socket = socket_class_of(cast("Any", self.library.socket_class))(
                self, shard_id, self._state.shard_count
            )
            self._sockets[number] = socket
            self._state._update_references(socket)
            if not running:
                await self._start(self.made)
            elif number not in running:
                await self.made.start_shard(number)
        return socket

    async def _start(self, gateway: Gateway) -> None:
        """Start it, for a client that is not closed: what has no socket yet it would not close."""
        try:
            if not self.bot.is_closed():
                await gateway.start()
            if self.bot.is_closed():
                raise asyncio.CancelledError("the client was closed while it connected")
        except BaseException:
            await gateway.close()
            raise
        self._look()

    async def close(self, number: int) -> None:
        """Stop a shard; with a client that closes, everything."""
        gateway = self.made
        if gateway is None:
            return
        if self.bot.is_closed():
            self._stop_looking()
            self._opening = asyncio.Lock()  # the next run may be in another loop
            await gateway.close()
        elif number in self._running():
            await gateway.stop_shard(number)

    async def _make(self, number: int) -> Gateway:
        options = dict(self.options)
        if options.get("info") is None:
            options["info"] = GatewayInfo.parse(await self.library.gateway_bot(self.bot))
        if options.get("proxy") is None and self.bot.http.proxy:
            options["proxy"] = _proxy(self.bot.http)
        if self.library.has_own_hook(self.bot):
            queue = options.get("identify_queue") or LocalIdentifyQueue()
            options["identify_queue"] = HookedQueue(queue, self.bot)
        ids = getattr(self._state, "shard_ids", None)
        gateway = Gateway(
            self.bot.http.token,
            intents=self._state._intents.value,
            shards=[number] if ids is None else list(ids),
            shard_count=self._state.shard_count or 1,
            presence=self._presence(),
            large_threshold=LARGE_THRESHOLD,
            **options,
        )
        gateway.on_status(self._status)
        self._wanted, self._tells_all = {}, False
        self._interests.look()
        self._apply(self._interests.events(), gateway)
        return gateway

    def _presence(self) -> dict[str, Any] | None:
        activity, status = self._state._activity, self._state._status
        if activity is None and status is None:
            return None
        activities = [] if activity is None else [activity]
        return {
            "since": 0, "afk": False, "status": status or "online", "activities": activities
        }  # fmt: skip

    def _status(self, change: StatusChange) -> None:
        socket = self._sockets.get(change.shard.id)
        if socket is None:
            return
        if change.new is State.STOPPED:
            code = getattr(change.error, "close_code", None)
            socket.ended(1000 if change.error is None else code or 4000)
        elif change.old is State.READY and not self.bot.is_closed():
            self.bot.dispatch("disconnect")
            if hasattr(self.bot, "shards"):
                self.bot.dispatch("shard_disconnect", change.shard.id)

    # --- interests -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look again once a second, while the gateway lives."""
        self._interests.look()
        self._apply(self._interests.events())
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _apply(self, events: list[str], gateway: Gateway | None = None) -> None:
        """Tell the gateway which of these events the library gets now."""
        gateway = gateway or self.made
        if gateway is None:
            return
        if self._interests.hears_every_name is not self._tells_all:
            self._tells_all = not self._tells_all
            if self._tells_all:
                gateway.on("*")(self._tell_other)
            else:
                gateway.off(self._tell_other)
        for event in events:
            verdict = self._interests.of(event)
            wanted = verdict.wanted
            was, prefixes = self._wanted.get(event, (Wanted.NOTHING, ()))
            if wanted is was and prefixes == verdict.prefixes:
                continue
            self._wanted[event] = (wanted, verdict.prefixes)
            if was in (Wanted.OWN, Wanted.COMMANDS):
                gateway.off(self._deliver_some, event)
            if wanted is Wanted.OWN and self._is_open(event):
                gateway.route(event, None)
                gateway.on(event, where=field("user.id").is_in(self._own))(self._deliver_some)
            elif wanted is Wanted.COMMANDS:
                gateway.route(event, None)
                if verdict.prefixes and self._is_open(event):
                    begins = field("content").startswith(verdict.prefixes)
                    gateway.on(event, where=begins)(self._deliver_some)
            elif wanted is Wanted.NAME:
                gateway.route(event, self._tell_name)
            else:
                gateway.route(event, None if wanted is Wanted.NOTHING else self._deliver)

    def _is_open(self, event: str) -> bool:
        """Whether the intents let it come, were it not about the bot itself."""
        gates = EVENT_INTENTS.get(event, Intents(0))
        return bool(gates & Intents(self._state._intents.value))

    def _tell_name(self, event: Event) -> None:
        self.bot.dispatch("socket_event_type", event.name)

    def _tell_other(self, event: Event) -> None:
        """Tell the name of an event that the library has no parser for."""
        if event.name not in self._state.parsers:
            self.bot.dispatch("socket_event_type", event.name)

    def _deliver_some(self, event: Event) -> None:
        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        """What the library's own socket does with a dispatch."""
        name, data = event.name, event.data
        self.bot.dispatch("socket_event_type", name)
        if name == "READY":
            self._own.add(data["user"]["id"])
        if name in ("READY", "RESUMED"):
            socket = self._sockets.get(event.shard_id)
            shard = self.shard(event.shard_id)
            if socket is not None and shard is not None:
                socket.session_id, socket.sequence = shard.session_id, event.sequence
            data["__shard_id__"] = socket.shard_id if socket is not None else event.shard_id
        parser = self._state.parsers.get(name)
        if parser is not None:
            parser(data)
        if name == "READY":  # the bot's id may be part of its prefixes
            self._apply(["MESSAGE_CREATE"])


def _refuse(client: Any, library: Library, options: Mapping[str, Any]) -> None:
    """
    Say what cannot be.

    Raises:
        UsageError: of the client, or of the options.
    """
    if getattr(client, "_enable_debug_events", False):
        raise UsageError(
            "a bot with enable_debug_events=True hears every message of its own socket, which an "
            "attached bot has not; turn them off, or use on_socket_event_type"
        )
    if "store" in options:
        raise UsageError(
            f"attach(store=...) cannot be with {library.name}: a session that is resumed after a "
            "restart sends no GUILD_CREATE, and the guild cache would stay empty"
        )
    # Now: while it connects the library would take an error for a lost connection, and try again.
    Gateway("checked", intents=client.intents.value, shards=[0], shard_count=1, **options)


class HookedQueue:
    """
    An identify queue that calls the client's `before_identify_hook` within each turn.

    Args:
        queue: whose turns they are.
        client: whose hook it is.
    """

    def __init__(self, queue: IdentifyQueue, client: Any) -> None:
        self._queue = queue
        self._client = client
        self._has_begun = False
        self.learn = queue.learn
        self.budget = queue.budget

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """Wait for the turn, and for the hook."""
        turn = await self._queue.acquire(shard_id)
        is_initial, self._has_begun = not self._has_begun, True
        try:
            await self._client.before_identify_hook(shard_id, initial=is_initial)
        except BaseException:
            turn.release()
            raise
        return turn


def _proxy(http: Any) -> str:
    """Return the library's proxy as a URL with its credentials."""
    auth = http.proxy_auth
    if auth is None:
        return str(http.proxy)
    from yarl import URL  # the library stands on it

    return str(URL(str(http.proxy)).with_user(auth.login).with_password(auth.password))
