"""What the events carry: one type for `d` of each."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from . import channels, components, guilds, interactions, messages, presences, users
from .channels import Channel, VoiceState
from .guilds import Guild, ScheduledEvent, SoundboardSound, StageInstance, UnavailableGuild
from .interactions import Interaction
from .messages import Message
from .presences import Presence
from .users import (
    AvatarDecoration,
    Collectibles,
    Member,
    PartialApplication,
    PartialEmoji,
    PartialMember,
    Role,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# On Python 3.14 msgspec looks for the types of inherited members in the module of the heir.
for _module in (channels, components, guilds, interactions, messages, presences, users):
    for _name in _module.__all__:
        globals().setdefault(_name, getattr(_module, _name))

__all__ = [
    "PAYLOADS",
    "ChannelCreate",
    "ChannelDelete",
    "ChannelUpdate",
    "GuildBanAdd",
    "GuildBanRemove",
    "GuildCreate",
    "GuildDelete",
    "GuildMemberAdd",
    "GuildMemberRemove",
    "GuildMemberUpdate",
    "GuildMembersChunk",
    "GuildRoleCreate",
    "GuildRoleDelete",
    "GuildRoleUpdate",
    "GuildUpdate",
    "InteractionCreate",
    "MessageCreate",
    "MessageDelete",
    "MessageDeleteBulk",
    "MessageReactionAdd",
    "MessageReactionRemove",
    "MessageUpdate",
    "PresenceUpdate",
    "Ready",
    "ThreadCreate",
    "TypingStart",
    "VoiceServerUpdate",
    "VoiceStateUpdate",
]


class Ready(TypedDict):
    """`d` of READY."""

    v: int
    user: User
    guilds: list[UnavailableGuild]
    session_id: str
    resume_gateway_url: str
    shard: NotRequired[list[int]]
    application: PartialApplication


class MessageDelete(TypedDict):
    """`d` of MESSAGE_DELETE."""

    id: str
    channel_id: str
    guild_id: NotRequired[str]


class MessageDeleteBulk(TypedDict):
    """`d` of MESSAGE_DELETE_BULK."""

    ids: list[str]
    channel_id: str
    guild_id: NotRequired[str]


class MessageReactionAdd(TypedDict):
    """`d` of MESSAGE_REACTION_ADD."""

    user_id: str
    channel_id: str
    message_id: str
    guild_id: NotRequired[str]
    member: NotRequired[Member]
    emoji: PartialEmoji
    message_author_id: NotRequired[str]
    burst: bool
    burst_colors: NotRequired[list[str]]
    type: int


class MessageReactionRemove(TypedDict):
    """`d` of MESSAGE_REACTION_REMOVE."""

    user_id: str
    channel_id: str
    message_id: str
    guild_id: NotRequired[str]
    emoji: PartialEmoji
    burst: bool
    type: int


class GuildBanAdd(TypedDict):
    """`d` of GUILD_BAN_ADD."""

    guild_id: str
    user: User


class GuildBanRemove(TypedDict):
    """`d` of GUILD_BAN_REMOVE."""

    guild_id: str
    user: User


class GuildMemberRemove(TypedDict):
    """`d` of GUILD_MEMBER_REMOVE."""

    guild_id: str
    user: User


class GuildMemberUpdate(TypedDict):
    """`d` of GUILD_MEMBER_UPDATE."""

    guild_id: str
    roles: list[str]
    user: User
    nick: NotRequired[str | None]
    avatar: str | None
    banner: str | None
    joined_at: str | None
    premium_since: NotRequired[str | None]
    deaf: NotRequired[bool]
    mute: NotRequired[bool]
    pending: NotRequired[bool]
    communication_disabled_until: NotRequired[str | None]
    avatar_decoration_data: NotRequired[AvatarDecoration | None]
    collectibles: NotRequired[Collectibles | None]


class GuildMembersChunk(TypedDict):
    """`d` of GUILD_MEMBERS_CHUNK."""

    guild_id: str
    members: list[Member]
    chunk_index: int
    chunk_count: int
    not_found: NotRequired[list[str]]
    presences: NotRequired[list[Presence]]
    nonce: NotRequired[str]


class GuildRoleCreate(TypedDict):
    """`d` of GUILD_ROLE_CREATE."""

    guild_id: str
    role: Role


class GuildRoleUpdate(TypedDict):
    """`d` of GUILD_ROLE_UPDATE."""

    guild_id: str
    role: Role


class GuildRoleDelete(TypedDict):
    """`d` of GUILD_ROLE_DELETE."""

    guild_id: str
    role_id: str


class TypingStart(TypedDict):
    """`d` of TYPING_START."""

    channel_id: str
    guild_id: NotRequired[str]
    user_id: str
    timestamp: int
    member: NotRequired[Member]


class VoiceServerUpdate(TypedDict):
    """`d` of VOICE_SERVER_UPDATE."""

    token: str
    guild_id: str
    endpoint: str | None


class GuildCreate(Guild):
    """
    `d` of GUILD_CREATE.

    During an outage it may be an UnavailableGuild instead: look at `unavailable` first.
    """

    joined_at: str
    large: bool
    unavailable: NotRequired[bool]
    member_count: int
    voice_states: list[VoiceState]
    members: list[Member]
    channels: list[Channel]
    threads: list[Channel]
    presences: list[Presence]
    stage_instances: list[StageInstance]
    guild_scheduled_events: list[ScheduledEvent]
    soundboard_sounds: list[SoundboardSound]


class GuildUpdate(Guild):
    """`d` of GUILD_UPDATE."""


class GuildDelete(UnavailableGuild):
    """`d` of GUILD_DELETE; without `unavailable` the bot was removed from the guild."""


class GuildMemberAdd(Member):
    """`d` of GUILD_MEMBER_ADD."""

    guild_id: str


class ChannelCreate(Channel):
    """`d` of CHANNEL_CREATE."""


class ChannelUpdate(Channel):
    """`d` of CHANNEL_UPDATE."""


class ChannelDelete(Channel):
    """`d` of CHANNEL_DELETE."""


class ThreadCreate(Channel):
    """`d` of THREAD_CREATE: of a new thread, or as the bot joins one."""

    newly_created: NotRequired[bool]


class MessageCreate(Message):
    """`d` of MESSAGE_CREATE."""

    guild_id: NotRequired[str]
    member: NotRequired[PartialMember]
    channel_type: NotRequired[int]


class MessageUpdate(MessageCreate):
    """`d` of MESSAGE_UPDATE: the whole message as it is now."""


class PresenceUpdate(Presence):
    """`d` of PRESENCE_UPDATE."""

    guild_id: str


class VoiceStateUpdate(VoiceState):
    """`d` of VOICE_STATE_UPDATE."""


class InteractionCreate(Interaction):
    """`d` of INTERACTION_CREATE."""


# Event name -> the type of its `d`.
PAYLOADS: Mapping[str, Any] = MappingProxyType(
    {
        "CHANNEL_CREATE": ChannelCreate,
        "CHANNEL_DELETE": ChannelDelete,
        "CHANNEL_UPDATE": ChannelUpdate,
        "GUILD_BAN_ADD": GuildBanAdd,
        "GUILD_BAN_REMOVE": GuildBanRemove,
        "GUILD_CREATE": GuildCreate,
        "GUILD_DELETE": GuildDelete,
        "GUILD_MEMBERS_CHUNK": GuildMembersChunk,
        "GUILD_MEMBER_ADD": GuildMemberAdd,
        "GUILD_MEMBER_REMOVE": GuildMemberRemove,
        "GUILD_MEMBER_UPDATE": GuildMemberUpdate,
        "GUILD_ROLE_CREATE": GuildRoleCreate,
        "GUILD_ROLE_DELETE": GuildRoleDelete,
        "GUILD_ROLE_UPDATE": GuildRoleUpdate,
        "GUILD_UPDATE": GuildUpdate,
        "INTERACTION_CREATE": InteractionCreate,
        "MESSAGE_CREATE": MessageCreate,
        "MESSAGE_DELETE": MessageDelete,
        "MESSAGE_DELETE_BULK": MessageDeleteBulk,
        "MESSAGE_REACTION_ADD": MessageReactionAdd,
        "MESSAGE_REACTION_REMOVE": MessageReactionRemove,
        "MESSAGE_UPDATE": MessageUpdate,
        "PRESENCE_UPDATE": PresenceUpdate,
        "READY": Ready,
        "THREAD_CREATE": ThreadCreate,
        "TYPING_START": TypingStart,
        "VOICE_SERVER_UPDATE": VoiceServerUpdate,
        "VOICE_STATE_UPDATE": VoiceStateUpdate,
    }
)
