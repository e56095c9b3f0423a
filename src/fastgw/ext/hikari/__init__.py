"""
A hikari bot on fastgw's gateway.

`join(bot)` is what `fastgw.attach` calls for a `hikari.GatewayBot`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hikari import GatewayBot

from ...errors import UsageError
from ...gateway import Gateway
from .interests import Interests
from .link import Link, of_the_bot
from .seam import check_seam, install, uninstall

__all__ = ["Link", "is_attached", "join", "leave"]


def join(
    bot: GatewayBot,
    *,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    is_filtering: bool = True,
    options: Mapping[str, Any],
) -> Link:
    """
    Put a bot that is not running on fastgw's gateway.

    Args:
        bot: the bot; it is changed in place.
        keep, drop: names of events that are always, or never, delivered.
        is_filtering: False delivers everything.
        options: of the gateway, beyond what the bot itself says.
    Raises:
        UsageError: it runs, is attached already, lacks what is needed, or could not work.
    """
    check_seam(bot)
    if bot.is_alive:
        raise UsageError("this bot is running: attach() comes before bot.run() or bot.start()")
    if is_attached(bot):
        raise UsageError("this bot is attached already")
    store = options.get("store")
    if store is not None and store.is_durable and bot.cache.settings.components:
        raise UsageError(
            "a store of sessions needs a bot without caches: a session that is resumed after a "
            "restart brings no guilds, and hikari's caches would stay empty; make the bot with "
            "cache_settings=CacheSettings(components=CacheComponents.NONE), or leave store= out"
        )
    # Both raise early what would be raised when a shard starts.
    Gateway(bot._token, intents=int(bot._intents), **{**of_the_bot(bot), **options})
    components = int(bot.cache.settings.components)
    manager: Any = bot._event_manager
    interests = Interests(manager, components, keep=keep, drop=drop, is_filtering=is_filtering)
    link = Link(bot, interests, options)
    install(bot, link)
    return link


def is_attached(bot: GatewayBot) -> bool:
    """Whether a bot is on fastgw's gateway."""
    return hasattr(bot, "fastgw_link")


def leave(link: Link) -> None:
    """
    Give a bot that is not running its own gateway back.

    Raises:
        UsageError: it runs.
    """
    if link.bot.is_alive:
        raise UsageError("this bot is running: close it first")
    uninstall(link.bot)
