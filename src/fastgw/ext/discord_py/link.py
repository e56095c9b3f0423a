"""What stands behind all sockets of one client: the gateway, and the way of events to parsers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from ..._decode import Event, ValueSet
from ...delivery.filters import field
from ...errors import UsageError
from ...fleet.gateway_info import GatewayInfo
from ...fleet.identify import LocalIdentifyQueue
from ...fleet.ports import IdentifyQueue
from ...gateway import Gateway
from ...protocol.states import State
from ...shard.face import Shard, StatusChange
from ...shard.ports import IdentifyTurn
from ..attachment import Explanation, Reason
from .interests import Interests, Wanted
from .library import Library
from .socket import socket_class_of

__all__ = ["Link"]

# How often listeners are looked for that came or went without anybody being told.
LOOK_S = 1.0
LARGE_THRESHOLD = 250  # as the libraries say


class Link:
    """
    A client, and the gateway that it connects by; a new one for each time that it does.

    Args:
        client, library: whose.
        keep, drop, is_filtering, gateway_options: of `attach`.
    Attributes:
        gateway: None until the client connects.
    """

    def __init__(
        self,
        client: Any,
        library: Library,
        keep: frozenset[str],
        drop: frozenset[str],
        is_filtering: bool,
        gateway_options: Mapping[str, Any],
    ) -> None:
        self.client = client
        self.library = library
        self.gateway: Gateway | None = None
        self._options = dict(gateway_options)
        self._sockets: dict[int, Any] = {}
        self._own = ValueSet()  # the bot's id, once it is known
        self._looking: asyncio.TimerHandle | None = None
        self._state = client._connection
        self._wanted: dict[str, Wanted] = {}
        self._tells_all = False  # names of events without a parser, too
        self._opening = asyncio.Lock()
        self._interests = Interests(client, library, keep, drop, is_filtering, self._apply)

    def forget(self) -> None:
        """Leave the client alone."""
        self._interests.listeners.forget()

    def shard(self, number: int) -> Shard | None:
        """Return a shard that runs."""
        return self._running().get(number)

    def _running(self) -> dict[int, Shard]:
        shards = () if self.gateway is None else self.gateway.shards
        return {shard.id: shard for shard in shards if shard.status is not State.STOPPED}

    # --- opening and closing ---------------------------------------------------------------------

    async def open(self, shard_id: int | None) -> Any:
        """Return the socket of a shard, which connects by itself; the first starts the gateway."""
        number = shard_id or 0
        async with self._opening:
            running = self._running()
            if self.gateway is None or not running:
                self._stop_looking()
                if self.gateway is not None:
                    with suppress(UsageError):  # it ended in another loop
                        await self.gateway.close()  # without shards it would go on
                self.gateway = await self._make(number)
            socket = socket_class_of(cast("Any", self.library.socket_class))(
                self, shard_id, self._state.shard_count
            )
            self._sockets[number] = socket
            self._state._update_references(socket)
            if not running:
                await self.gateway.start()
                self._look()
            elif number not in running:
                await self.gateway.start_shard(number)
        return socket

    async def close(self, number: int) -> None:
        """Stop a shard; with a client that closes, everything."""
        gateway = self.gateway
        if gateway is None:
            return
        if self.client.is_closed():
            self._stop_looking()
            self._opening = asyncio.Lock()  # the next run may be in another loop
            await gateway.close()
        elif number in self._running():
            await gateway.stop_shard(number)

    async def _make(self, number: int) -> Gateway:
        options = dict(self._options)
        if options.get("info") is None:
            options["info"] = GatewayInfo.parse(await self.library.gateway_bot(self.client))
        if options.get("proxy") is None and self.client.http.proxy:
            options["proxy"] = _proxy(self.client.http)
        if self.library.has_own_hook(self.client):
            queue = options.get("identify_queue") or LocalIdentifyQueue()
            options["identify_queue"] = HookedQueue(queue, self.client)
        ids = getattr(self._state, "shard_ids", None)
        gateway = Gateway(
            self.client.http.token,
            intents=self._state._intents.value,
            shards=[number] if ids is None else list(ids),
            shard_count=self._state.shard_count or 1,
            presence=self._presence(),
            large_threshold=LARGE_THRESHOLD,
            **options,
        )
        gateway.on_status(self._status)
        self._wanted, self._tells_all = {}, False
        self._interests.listeners.look()
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
        elif change.old is State.READY and not self.client.is_closed():
            self.client.dispatch("disconnect")
            if hasattr(self.client, "shards"):
                self.client.dispatch("shard_disconnect", change.shard.id)

    # --- interests -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look again once a second, while the gateway lives."""
        self._interests.listeners.look()
        self._apply(self._interests.events())
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _apply(self, events: list[str], gateway: Gateway | None = None) -> None:
        """Tell the gateway which of these events the library gets now."""
        gateway = gateway or self.gateway
        if gateway is None:
            return
        if self._interests.hears_every_name is not self._tells_all:
            self._tells_all = not self._tells_all
            if self._tells_all:
                gateway.on("*")(self._tell_other)
            else:
                gateway.off(self._tell_other)
        for event in events:
            wanted = self._interests.of(event).wanted
            was = self._wanted.get(event, Wanted.NOTHING)
            if wanted is was:
                continue
            self._wanted[event] = wanted
            if was is Wanted.OWN:
                gateway.off(self._deliver_own, event)
            if wanted is Wanted.OWN and self._comes_for_others(event):
                gateway.route(event, None)
                gateway.on(event, where=field("user.id").is_in(self._own))(self._deliver_own)
            elif wanted is Wanted.NAME:
                gateway.route(event, self._tell_name)
            else:
                gateway.route(event, None if wanted is Wanted.NOTHING else self._deliver)

    def _comes_for_others(self, event: str) -> bool:
        """Whether the intents let it come about anybody but the bot itself."""
        intents = self._state._intents
        return bool(intents.presences if event == "PRESENCE_UPDATE" else intents.members)

    def _tell_name(self, event: Event) -> None:
        self.client.dispatch("socket_event_type", event.name)

    def _tell_other(self, event: Event) -> None:
        """Tell the name of an event that the library has no parser for."""
        if event.name not in self._state.parsers:
            self.client.dispatch("socket_event_type", event.name)

    def _deliver_own(self, event: Event) -> None:
        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        """What the library's own socket does with a dispatch."""
        name, data = event.name, event.data
        self.client.dispatch("socket_event_type", name)
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

    # --- explaining ------------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """See `Attachment.explain`."""
        counted = {} if self.gateway is None else self.gateway.stats().events
        reasons = []
        for event in self._interests.events():
            verdict = self._interests.of(event)
            counts = counted.get(event)
            reasons.append(
                Reason(
                    event,
                    is_delivered=verdict.wanted is Wanted.WHOLE,
                    own_only=verdict.wanted is Wanted.OWN,
                    because=verdict.because,
                    seen=counts.seen if counts else 0,
                    delivered=counts.delivered if counts else 0,
                    bytes=counts.bytes if counts else 0,
                )
            )
        reasons.sort(key=lambda reason: (-reason.bytes, reason.event))
        return Explanation(str(self.library), tuple(reasons), self._interests.advice())


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
