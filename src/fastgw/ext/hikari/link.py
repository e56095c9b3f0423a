"""
Between a hikari bot and fastgw: one gateway for all shards of a run, made when the first starts.

A bot may be started again after `close()`; the next run has a gateway of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ...errors import UsageError
from ...fleet.gateway_info import GatewayInfo, SessionStartLimit
from ...fleet.placement import Placement
from ...gateway import Gateway
from ...log import careful_logger

if TYPE_CHECKING:
    from hikari import GatewayBot

    from ..._decode import Event
    from ...shard.face import Shard, StatusChange
    from .interests import Interests
    from .shard import AttachedShard

__all__ = ["Link"]

log = careful_logger("fastgw.attach")

# hikari's own, where fastgw would leave it to the service.
LARGE_THRESHOLD = 250


class Link:
    """
    What an attached bot has of fastgw.

    Args:
        bot: the bot.
        interests: which events it wants.
        options: of the gateway, beyond what the bot itself says.
    """

    def __init__(self, bot: GatewayBot, interests: Interests, options: Mapping[str, Any]) -> None:
        self.bot = bot
        self.interests = interests
        self._options = options
        self._gateway: Gateway | None = None
        self._large_threshold = LARGE_THRESHOLD
        self._shards: dict[int, AttachedShard] = {}
        self._running: set[int] = set()
        self._lock = asyncio.Lock()
        self._is_begun = False  # the gateway was placed, and lives once
        self._is_started = False  # and further shards can be taken in
        self._is_over = False
        self._loads = None if bot._loads is _default_loads() else bot._loads

    @property
    def gateway(self) -> Gateway:
        """The gateway of this run, of the last one when that is over, or of the first."""
        if self._gateway is None:
            return self._make(LARGE_THRESHOLD)
        return self._gateway

    def _make(self, large_threshold: int) -> Gateway:
        options = {"large_threshold": large_threshold, **of_the_bot(self.bot), **self._options}
        self._large_threshold = options["large_threshold"]
        gateway = Gateway(self.bot._token, intents=int(self.bot._intents), **options)
        self.interests.connect(gateway, self._receive)
        gateway.on_status(self._moved)
        self._gateway = gateway
        return gateway

    # --- shards come and go ----------------------------------------------------------------------

    async def take(self, shard: AttachedShard) -> Shard:
        """Start a shard; the first one starts the gateway."""
        self._shards[shard.id] = shard
        self._running.add(shard.id)
        async with self._lock:
            if not self._is_started:
                await self._start(shard)
                self._is_started = True
                return self.gateway.shards[0]
            return await self.gateway.start_shard(shard.id)

    async def _start(self, shard: AttachedShard) -> None:
        asked = self._options.get("large_threshold", shard._large_threshold)
        if self._gateway is None or self._is_over:
            self._make(asked)
        elif asked != self._large_threshold:
            raise UsageError(
                f"the gateway was made with large_threshold={self._large_threshold} when "
                f"attachment.gateway was used before the start, which says {asked}: look at it "
                "later, or leave large_threshold as it is"
            )
        self._is_begun, self._is_over = True, False
        info = None if "info" in self._options else await _info(self.bot, shard._gateway_url)
        self.gateway.place(
            Placement(shard_ids=[shard.id], shard_count=shard.shard_count, info=info)
        )
        self.gateway.set_presence(shard.presence())
        await self.gateway.start()

    async def drop(self, shard: AttachedShard) -> None:
        """Stop a shard; with the last one the gateway ends."""
        self._running.discard(shard.id)
        if not self._running:
            await self.close()
        elif self._gateway is not None:
            with suppress(UsageError):  # it never started, or the gateway has ended
                await self._gateway.stop_shard(shard.id)
        if self._shards.get(shard.id) is shard:  # it was told of its end
            del self._shards[shard.id]

    async def close(self) -> None:
        """End the gateway of this run, if there is one; its figures stay to be looked at."""
        if self._gateway is None or not self._is_begun:
            return
        self._is_over = True
        self._is_started = False
        self._lock = asyncio.Lock()  # the next run may be in another loop
        self.interests.disconnect()
        await self._gateway.close()

    def set_presence(self, shard: AttachedShard, presence: Mapping[str, Any]) -> None:
        """Show a presence on one shard, also after sessions were lost."""
        self.gateway.set_presence(presence, shard_ids=[shard.id])

    # --- what comes ------------------------------------------------------------------------------

    def _receive(self, event: Event[Any]) -> None:
        shard = self._shards.get(event.shard_id)
        if shard is None or self.interests.is_dropped(event.name):
            return
        data: Any = event.data if self._loads is None else self._loads(event.raw)
        try:
            self.bot._event_manager.consume_raw_event(event.name, shard, data)
        except LookupError:
            log.debug("hikari does not know the event %s", event.name)

    def _moved(self, change: StatusChange) -> None:
        shard = self._shards.get(change.shard.id)
        if shard is not None:
            shard.moved(change)


def _default_loads() -> Any:
    from hikari.internal.data_binding import default_json_loads

    return default_json_loads


async def _info(bot: GatewayBot, url: str) -> GatewayInfo:
    """Ask through the bot's own client what its start has asked for, and does not pass on."""
    asked = await bot._rest.fetch_gateway_bot_info()
    limit = asked.session_start_limit
    return GatewayInfo(
        url,
        asked.shard_count,
        SessionStartLimit(
            limit.total,
            limit.remaining,
            limit.reset_after.total_seconds(),
            limit.max_concurrency,
        ),
    )


def of_the_bot(bot: GatewayBot) -> dict[str, Any]:
    """
    Return the options of a gateway that the bot's own settings say.

    Raises:
        UsageError: headers for the proxy, which fastgw does not send.
    """
    settings = bot._proxy_settings
    options: dict[str, Any] = {
        "api_url": bot._rest._rest_url,
        "ssl_context": bot._http_settings.ssl,
    }
    if int(bot._capabilities):
        options["capabilities"] = int(bot._capabilities)
    if settings.headers:
        raise UsageError(
            "ProxySettings(headers=) is not supported by fastgw: pass proxy= to fastgw.attach()"
        )
    if settings.url is not None:
        parts = urlsplit(str(settings.url))
        auth = settings.auth
        login = "" if auth is None else f"{quote(auth.username, '')}:{quote(auth.password, '')}@"
        options["proxy"] = parts._replace(netloc=login + parts.netloc).geturl()
    elif settings.trust_env:
        options["proxy"] = "environment"
    return options
