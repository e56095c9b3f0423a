"""
Between a hikari bot and fastgw: one gateway for all shards of a run, made when the first starts.

A bot may be started again after `close()`; the next run has a gateway of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import hikari
from hikari.internal.data_binding import default_json_loads

from ...errors import UsageError
from ...fleet.http.gateway_info import GatewayInfo, SessionStartLimit
from ...fleet.placement import Placement
from ...gateway import Gateway
from ...log import careful_logger
from ..link import Link
from .interests import Interests
from .seam import check_seam, install, uninstall

if TYPE_CHECKING:
    from hikari import GatewayBot

    from ..._decode import Event
    from ...shard.face import Shard, StatusChange
    from ..verdict import Choice
    from .shard import AttachedShard

__all__ = ["HikariLink"]

log = careful_logger("fastgw.attach")

# hikari's own, where fastgw would leave it to the service.
LARGE_THRESHOLD = 250


class HikariLink(Link):
    """A `hikari.GatewayBot`; each run has a gateway, and the first has it before it starts."""

    def __init__(self, bot: Any, choice: Choice, options: Mapping[str, Any]) -> None:
        super().__init__(bot, choice, options)
        self.library: str = f"hikari {hikari.__version__}"
        check_seam(bot)
        if choice.prefix_filter:
            raise UsageError(
                "attach(prefix_filter=...) is for prefix commands of discord.py, disnake, nextcord "
                "and py-cord, and hikari has none; leave it out"
            )
        _refuse(bot, options)
        components = int(bot.cache.settings.components)
        self._interests = Interests(bot._event_manager, components, choice)
        self._large_threshold = LARGE_THRESHOLD
        self._shards: dict[int, AttachedShard] = {}
        self._running: set[int] = set()
        self._lock = asyncio.Lock()
        self._is_begun = False  # the gateway was placed, and lives once
        self._is_started = False  # and further shards can be taken in
        self._is_over = False
        self._loads = None if bot._loads is default_json_loads else bot._loads

    @classmethod
    def of(cls, bot: Any) -> HikariLink | None:
        return getattr(bot, "fastgw_link", None)

    @property
    def gateway(self) -> Gateway:
        return self._make(LARGE_THRESHOLD) if self.made is None else self.made

    @property
    def is_running(self) -> bool:
        return bool(self.bot.is_alive)

    @property
    def intents(self) -> int:
        return int(self.bot.intents)

    @property
    def interests(self) -> Interests:
        return self._interests

    def install(self) -> None:
        install(self.bot, self)

    def uninstall(self) -> None:
        uninstall(self.bot)

    def _make(self, large_threshold: int) -> Gateway:
        options = {"large_threshold": large_threshold, **_of_the_bot(self.bot), **self.options}
        self._large_threshold = options["large_threshold"]
        gateway = Gateway(self.bot._token, intents=int(self.bot._intents), **options)
        self.interests.connect(gateway, self._receive)
        gateway.on_status(self._moved)
        self.made = gateway
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
        asked = self.options.get("large_threshold", shard._large_threshold)
        if self.made is None or self._is_over:
            self._make(asked)
        elif asked != self._large_threshold:
            raise UsageError(
                f"the gateway was made with large_threshold={self._large_threshold} when "
                f"attachment.gateway was used before the start, which says {asked}: look at it "
                "later, or leave large_threshold as it is"
            )
        self._is_begun, self._is_over = True, False
        info = None if "info" in self.options else await _info(self.bot, shard._gateway_url)
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
        elif self.made is not None:
            with suppress(UsageError):  # it never started, or the gateway has ended
                await self.made.stop_shard(shard.id)
        if self._shards.get(shard.id) is shard:  # it was told of its end
            del self._shards[shard.id]

    async def close(self) -> None:
        """End the gateway of this run, if there is one; its figures stay to be looked at."""
        if self.made is None or not self._is_begun:
            return
        self._is_over = True
        self._is_started = False
        self._lock = asyncio.Lock()  # the next run may be in another loop
        self.interests.disconnect()
        await self.made.close()

    def set_presence(self, shard: AttachedShard, presence: Mapping[str, Any]) -> None:
        """Show a presence on one shard, also after sessions were lost."""
        self.gateway.set_presence(presence, shard_ids=[shard.id])

    # --- what comes ------------------------------------------------------------------------------

    def _receive(self, event: Event[Any]) -> None:
        shard = self._shards.get(event.shard_id)
        if shard is None or event.name in self.choice.drop:
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


def _refuse(bot: GatewayBot, options: Mapping[str, Any]) -> None:
    """
    Say what cannot be.

    Raises:
        UsageError: of the bot, or of the options.
    """
    store = options.get("store")
    if store is not None and store.is_durable and bot.cache.settings.components:
        raise UsageError(
            "a store of sessions needs a bot without caches: a session that is resumed after a "
            "restart brings no guilds, and hikari's caches would stay empty; make the bot with "
            "cache_settings=CacheSettings(components=CacheComponents.NONE), or leave store= out"
        )
    if "ssl_context" not in options and bot._http_settings.ssl.verify_mode is ssl.CERT_NONE:
        raise UsageError(
            "HTTPSettings(ssl=False) verifies no certificate, so anybody on the way could take the "
            "token: leave it out, or pass attach(ssl_context=...) with one that verifies, which is "
            "then fastgw's, while hikari's REST client keeps its own"
        )
    # Both raise early what would be raised when a shard starts.
    Gateway(bot._token, intents=int(bot._intents), **{**_of_the_bot(bot), **options})


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


def _of_the_bot(bot: GatewayBot) -> dict[str, Any]:
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
