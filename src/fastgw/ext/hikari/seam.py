"""
Where fastgw goes in: two classes of a hikari bot are replaced by subclasses of them.

`GatewayBot` has slots, so nothing can be set on the object: its class and that of its event manager
are swapped for subclasses that hold the link. Of private names only those are used that
`check_seam` looks for, and it names the one that a version of hikari lacks.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Protocol

import hikari
from hikari.impl.event_manager_base import EventManagerBase, _Consumer
from hikari.impl.shard import GatewayShardImpl

from ...errors import UsageError
from .shard import AttachedShard, ShardKeeper

if TYPE_CHECKING:
    from .interests import Interests

__all__ = ["BotKeeper", "check_seam", "install", "uninstall"]

_START_ONE_SHARD = (
    "activity", "afk", "idle_since", "status", "large_threshold", "shard_id", "shard_count", "url",
)  # fmt: skip
_OF_BOT = (
    "_cache", "_capabilities", "_dumps", "_event_factory", "_event_manager", "_http_settings",
    "_intents", "_loads", "_proxy_settings", "_rest", "_shards", "_token",
)  # fmt: skip
_OF_MANAGER = ("_consumers", "_listeners", "_waiters")
_METHODS = {
    GatewayShardImpl: (
        "_keep_alive", "_send_json", "_serialize_and_store_presence_payload", "is_connected",
        "heartbeat_latency", "start", "close", "join",
    ),
    EventManagerBase: (
        "_increment_listener_group_count", "_increment_waiter_group_count", "_enabled_for_event",
        "consume_raw_event",
    ),
    _Consumer: ("is_enabled",),
}  # fmt: skip


class BotKeeper(ShardKeeper, Protocol):
    """What an attached bot needs of who has the gateway."""

    @property
    def interests(self) -> Interests:
        """What the bot wants, kept in step."""

    async def close(self) -> None:
        """End the gateway of this run, if there is one."""


def check_seam(bot: Any) -> None:
    """
    Raise UsageError when this bot or this version of hikari has not what fastgw stands on.

    Nothing has been changed then.
    """
    lacking = [f"GatewayBot.{name}" for name in _OF_BOT if not hasattr(bot, name)]
    manager = getattr(bot, "_event_manager", None)
    lacking += [f"EventManager.{name}" for name in _OF_MANAGER if not hasattr(manager, name)]
    for kind, names in _METHODS.items():
        lacking += [f"{kind.__name__}.{name}" for name in names if not hasattr(kind, name)]
    start = getattr(bot, "_start_one_shard", None)
    taken = () if start is None else tuple(inspect.signature(start).parameters)
    if set(taken) != set(_START_ONE_SHARD):
        lacking.append(f"GatewayBot._start_one_shard({', '.join(_START_ONE_SHARD)})")
    if lacking:
        raise UsageError(
            f"hikari {hikari.__version__} has no {', '.join(lacking)}, which fastgw.attach() "
            "needs; use the bot without it, or another version of hikari"
        )


def install(bot: Any, link: BotKeeper) -> None:
    """Swap the classes of the bot and of its event manager for attached ones."""
    manager = bot._event_manager
    manager.__class__ = _manager_class(type(manager), link)
    bot.__class__ = _bot_class(type(bot), link)


def uninstall(bot: Any) -> None:
    """Give the bot its own classes back."""
    for thing in (bot, bot._event_manager):
        thing.__class__ = type(thing).__mro__[1]


def _manager_class(kind: Any, link: BotKeeper) -> type[Any]:
    class AttachedEventManager(kind):  # type: ignore[misc]
        __slots__ = ()

        def _increment_listener_group_count(self, event_type: Any, count: Any) -> None:
            super()._increment_listener_group_count(event_type, count)
            link.interests.refresh()

        def _increment_waiter_group_count(self, event_type: Any, count: Any) -> None:
            super()._increment_waiter_group_count(event_type, count)
            link.interests.refresh()

    return _named(AttachedEventManager, kind)


def _bot_class(kind: Any, link: BotKeeper) -> type[Any]:
    class AttachedBot(kind):  # type: ignore[misc]
        __slots__ = ()
        fastgw_link = link

        async def _start_one_shard(
            self,
            *,
            activity: Any,
            afk: bool,
            idle_since: Any,
            status: Any,
            large_threshold: int,
            shard_id: int,
            shard_count: int,
            url: str,
        ) -> None:
            shard = AttachedShard(
                link,
                http_settings=self._http_settings,
                proxy_settings=self._proxy_settings,
                event_manager=self._event_manager,
                event_factory=self._event_factory,
                intents=self._intents,
                capabilities=self._capabilities,
                dumps=self._dumps,
                loads=self._loads,
                initial_activity=activity,
                initial_is_afk=afk,
                initial_idle_since=idle_since,
                initial_status=status,
                large_threshold=large_threshold,
                shard_id=shard_id,
                shard_count=shard_count,
                token=self._token,
                url=url,
            )
            try:
                await shard.start()
            except BaseException:
                await asyncio.shield(shard.abandon())
                raise
            self._shards[shard_id] = shard

        async def close(self) -> None:
            await super().close()
            await link.close()  # where it was closed while it started

    return _named(AttachedBot, kind)


def _named(attached: type[Any], kind: type[Any]) -> type[Any]:
    """Show the bot's own class in its repr, and in what frameworks print."""
    attached.__name__, attached.__qualname__ = kind.__name__, kind.__qualname__
    attached.__module__ = kind.__module__
    return attached
