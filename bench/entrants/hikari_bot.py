"""
hikari: its own bot, shard and event code; cache components off.

Only the REST call for the gateway's address is replaced. Two ways of listening: model events, or
`ShardPayloadEvent`, which carries the parsed data as it came. And two gateways: its own, or that of
fastgw below the same bot.
"""

from __future__ import annotations

import datetime
from typing import Any

from ..rig.client import Job, gateway_compression
from ..rig.meter import Meter

_KINDS = {"zlib": "TRANSPORT_ZLIB_STREAM", "zstd": "TRANSPORT_ZSTD_STREAM"}


async def run(job: Job, meter: Meter, models: bool, attached: bool = False) -> dict[str, str]:
    """Start the bot on a prepared gateway address; receive until the last event."""
    import hikari
    from hikari.impl import shard as shard_module

    compression = _KINDS.get(job.compression)
    kind = hikari.api.shard.GatewayCompression[compression] if compression else None
    context = job.ssl_context()
    bot = hikari.GatewayBot(
        # A token must look like one: the first part is the bot's id in base64.
        "ODAzNTExMTAyMjQ2Nzg5MTI=.bench.bench",
        banner=None,
        logs="WARNING",
        suppress_optimization_warning=True,
        intents=hikari.Intents.ALL,
        auto_chunk_members=False,
        cache_settings=hikari.impl.CacheSettings(components=hikari.api.CacheComponents.NONE),
        http_settings=hikari.impl.HTTPSettings(ssl=context if context is not None else True),
    )
    if attached:
        import fastgw

        fastgw.attach(bot, compress=gateway_compression(job))
    (_subscribe_models if models else _subscribe_payloads)(hikari, bot, job, meter)
    _choose_compression(shard_module, kind)

    async def gateway(_self: Any) -> Any:
        limit = hikari.SessionStartLimit(
            total=1000, remaining=1000, reset_after=datetime.timedelta(0), max_concurrency=1
        )
        return hikari.GatewayBotInfo(url=job.url, shard_count=1, session_start_limit=limit)

    hikari.impl.RESTClientImpl.fetch_gateway_bot_info = gateway
    await bot.start(check_for_updates=False)
    await meter.done.wait()
    return {"version": hikari.__version__}


def _choose_compression(module: Any, kind: Any) -> None:
    """The bot has no option for it; the shard has, with a default."""
    original = module.GatewayShardImpl.__init__

    def init(self: Any, **options: Any) -> None:
        original(self, compression=kind, **options)

    module.GatewayShardImpl.__init__ = init


def _subscribe_payloads(hikari: Any, bot: Any, job: Job, meter: Meter) -> None:
    left, checksum = meter.prelude, 0
    wanted = frozenset(job.names)
    guilds = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})

    async def on_payload(event: Any) -> None:
        nonlocal left, checksum
        name = event.name
        if name not in wanted:
            return
        guild_id = event.payload.get("id" if name in guilds else "guild_id")
        if guild_id is not None:
            checksum += int(guild_id)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    bot.event_manager.subscribe(hikari.ShardPayloadEvent, on_payload)


def _subscribe_models(hikari: Any, bot: Any, job: Job, meter: Meter) -> None:
    left, checksum = meter.prelude, 0

    async def on_event(event: Any) -> None:
        nonlocal left, checksum
        checksum += getattr(event, "guild_id", None) or 0
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    async def on_interaction(event: Any) -> None:
        nonlocal left, checksum
        checksum += event.interaction.guild_id or 0
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    kinds = {
        "GUILD_CREATE": hikari.GuildAvailableEvent,
        "GUILD_MEMBER_ADD": hikari.MemberCreateEvent,
        "GUILD_MEMBER_REMOVE": hikari.MemberDeleteEvent,
        "GUILD_MEMBER_UPDATE": hikari.MemberUpdateEvent,
        "INTERACTION_CREATE": hikari.InteractionCreateEvent,
        "MESSAGE_CREATE": hikari.MessageCreateEvent,
        "MESSAGE_DELETE": hikari.MessageDeleteEvent,
        "MESSAGE_REACTION_ADD": hikari.ReactionAddEvent,
        "MESSAGE_REACTION_REMOVE": hikari.ReactionDeleteEvent,
        "MESSAGE_UPDATE": hikari.MessageUpdateEvent,
        "PRESENCE_UPDATE": hikari.PresenceUpdateEvent,
        "TYPING_START": hikari.TypingEvent,
        "VOICE_STATE_UPDATE": hikari.VoiceStateUpdateEvent,
    }
    for name in job.names:
        handler = on_interaction if name == "INTERACTION_CREATE" else on_event
        bot.event_manager.subscribe(kinds[name], handler)
