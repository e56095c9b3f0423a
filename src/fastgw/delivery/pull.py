"""
How a program takes events itself, one by one: iterators, and waiting for a single one.

The overloads say what the events of a name carry, for type checkers alone. What `check` takes is
the same in all of them: else mypy would take the result of a wait with a lambda for Any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from .filters import check_where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Unpack

    from .. import types
    from .._decode import Event, ValueSet
    from ..protocol.events import EventName
    from . import signatures as of
    from .filters import Filter
    from .handlers import Handlers
    from .limits import PolicyName
    from .streams import EventStream

__all__ = ["PulledEvents"]


class PulledEvents:
    """Events as a program asks for them; those that handlers are called with are `face`'s."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    @overload
    def events(
        self, name: Literal["CHANNEL_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.ChannelCreate]]: ...
    @overload
    def events(
        self, name: Literal["CHANNEL_DELETE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.ChannelDelete]]: ...
    @overload
    def events(
        self, name: Literal["CHANNEL_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.ChannelUpdate]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_BAN_ADD"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildBanAdd]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_BAN_REMOVE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildBanRemove]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildCreate]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_DELETE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildDelete]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_MEMBERS_CHUNK"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildMembersChunk]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_MEMBER_ADD"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildMemberAdd]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_MEMBER_REMOVE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildMemberRemove]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_MEMBER_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildMemberUpdate]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_ROLE_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildRoleCreate]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_ROLE_DELETE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildRoleDelete]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_ROLE_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildRoleUpdate]]: ...
    @overload
    def events(
        self, name: Literal["GUILD_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.GuildUpdate]]: ...
    @overload
    def events(
        self, name: Literal["INTERACTION_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.InteractionCreate]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageCreate]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_DELETE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageDelete]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_DELETE_BULK"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageDeleteBulk]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_REACTION_ADD"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageReactionAdd]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_REACTION_REMOVE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageReactionRemove]]: ...
    @overload
    def events(
        self, name: Literal["MESSAGE_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.MessageUpdate]]: ...
    @overload
    def events(
        self, name: Literal["PRESENCE_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.PresenceUpdate]]: ...
    @overload
    def events(
        self, name: Literal["READY"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.Ready]]: ...
    @overload
    def events(
        self, name: Literal["THREAD_CREATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.ThreadCreate]]: ...
    @overload
    def events(
        self, name: Literal["TYPING_START"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.TypingStart]]: ...
    @overload
    def events(
        self, name: Literal["VOICE_SERVER_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.VoiceServerUpdate]]: ...
    @overload
    def events(
        self, name: Literal["VOICE_STATE_UPDATE"], /, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event[types.VoiceStateUpdate]]: ...
    @overload
    def events(
        self, *names: EventName | str, **options: Unpack[of.StreamOptions]
    ) -> EventStream[Event]: ...
    def events(
        self,
        *names: str,
        where: Filter | None = None,
        guilds: ValueSet | Iterable[str | int] | None = None,
        bound: int | None = None,
        policy: PolicyName = "block",
    ) -> EventStream[Any]:
        """
        Return an async iterator over events of these names, from now on; "*" means every event.

        `async for event in gateway.events("MESSAGE_CREATE")` ends with the gateway. An event is
        handled when the next one is asked for. After `break` the iterator is gone; one that is kept
        in a variable has events until `aclose()`, or the end of `async with`.

        Args:
            where, guilds: which of these events, as of `on`.
            bound: how many events may wait in it; None sets no number, or 1,000 where they are
                dropped.
            policy: what happens beyond: "block" stops reading until half of them are taken;
                "drop_oldest" and "drop_newest" drop, and count in `stats()` what they drop.
        Raises:
            UsageError: no name, not a name, or a bad filter, bound or policy.
        """
        wanted = check_where(where, guilds)
        return self._handlers.events(names, bound=bound, policy=policy, where=wanted)

    @overload
    async def wait_for(
        self,
        name: Literal["CHANNEL_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.ChannelCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["CHANNEL_DELETE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.ChannelDelete]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["CHANNEL_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.ChannelUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_BAN_ADD"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildBanAdd]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_BAN_REMOVE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildBanRemove]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_DELETE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildDelete]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_MEMBERS_CHUNK"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildMembersChunk]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_MEMBER_ADD"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildMemberAdd]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_MEMBER_REMOVE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildMemberRemove]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_MEMBER_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildMemberUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_ROLE_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildRoleCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_ROLE_DELETE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildRoleDelete]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_ROLE_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildRoleUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["GUILD_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.GuildUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["INTERACTION_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.InteractionCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_DELETE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageDelete]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_DELETE_BULK"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageDeleteBulk]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_REACTION_ADD"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageReactionAdd]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_REACTION_REMOVE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageReactionRemove]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["MESSAGE_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.MessageUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["PRESENCE_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.PresenceUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["READY"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.Ready]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["THREAD_CREATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.ThreadCreate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["TYPING_START"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.TypingStart]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["VOICE_SERVER_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.VoiceServerUpdate]: ...
    @overload
    async def wait_for(
        self,
        name: Literal["VOICE_STATE_UPDATE"],
        /,
        **options: Unpack[of.WaitOptions],
    ) -> Event[types.VoiceStateUpdate]: ...
    @overload
    async def wait_for(
        self,
        *names: EventName | str,
        **options: Unpack[of.WaitOptions],
    ) -> Event: ...
    async def wait_for(
        self,
        *names: str,
        check: Callable[[Event[Any]], object] | None = None,
        where: Filter | None = None,
        guilds: ValueSet | Iterable[str | int] | None = None,
        timeout_s: float | None = None,
    ) -> Event[Any]:
        """
        Wait for the first event of these names that comes from now on, and return it.

        It is served as it is received, before handlers and behind no bound. While somebody waits,
        a shard that would stop reading goes on, up to twice its mark; then the wait fails.

        Args:
            check: called with each event; the first for which it returns something true is meant.
            where, guilds: which of these events it is called with, as of `on`.
            timeout_s: seconds; None waits for ever.
        Raises:
            asyncio.TimeoutError: it did not come in time (TimeoutError from Python 3.11 on).
            WaitFailed: it cannot come any more.
            UsageError: no name, not a name, no filter, a check that is no sync callable, or a
                timeout that is no number.
        """
        wanted = check_where(where, guilds)
        return await self._handlers.wait_for(names, check, timeout_s, where=wanted)
