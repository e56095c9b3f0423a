"""Users, members, roles, emojis and stickers."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

__all__ = [
    "AvatarDecoration",
    "Collectibles",
    "Emoji",
    "Member",
    "Mention",
    "Nameplate",
    "PartialApplication",
    "PartialEmoji",
    "PartialMember",
    "PresenceUser",
    "PrimaryGuild",
    "Role",
    "RoleColors",
    "RoleTags",
    "Sticker",
    "StickerItem",
    "User",
]


class AvatarDecoration(TypedDict):
    """What is drawn around an avatar."""

    asset: str
    sku_id: str


class Nameplate(TypedDict):
    """What is drawn behind a name in the list of members."""

    sku_id: str
    asset: str
    label: str
    palette: str


class Collectibles(TypedDict):
    """What a user has collected and shows."""

    nameplate: NotRequired[Nameplate]


class PrimaryGuild(TypedDict):
    """The guild whose tag a user wears."""

    identity_guild_id: str | None
    identity_enabled: bool | None
    tag: str | None
    badge: str | None


class User(TypedDict):
    """A user."""

    id: str
    username: str
    discriminator: str
    global_name: str | None
    avatar: str | None
    bot: NotRequired[bool]
    system: NotRequired[bool]
    mfa_enabled: NotRequired[bool]
    banner: NotRequired[str | None]
    accent_color: NotRequired[int | None]
    locale: NotRequired[str]
    verified: NotRequired[bool]
    email: NotRequired[str | None]
    flags: NotRequired[int]
    premium_type: NotRequired[int]
    public_flags: NotRequired[int]
    avatar_decoration_data: NotRequired[AvatarDecoration | None]
    collectibles: NotRequired[Collectibles | None]
    primary_guild: NotRequired[PrimaryGuild | None]


class PresenceUser(TypedDict):
    """The user of a presence: only `id` is sure to be there."""

    id: str
    username: NotRequired[str]
    discriminator: NotRequired[str]
    global_name: NotRequired[str | None]
    avatar: NotRequired[str | None]
    bot: NotRequired[bool]
    system: NotRequired[bool]
    mfa_enabled: NotRequired[bool]
    banner: NotRequired[str | None]
    accent_color: NotRequired[int | None]
    locale: NotRequired[str]
    verified: NotRequired[bool]
    email: NotRequired[str | None]
    flags: NotRequired[int]
    premium_type: NotRequired[int]
    public_flags: NotRequired[int]
    avatar_decoration_data: NotRequired[AvatarDecoration | None]
    collectibles: NotRequired[Collectibles | None]
    primary_guild: NotRequired[PrimaryGuild | None]


class Member(TypedDict):
    """A member of a guild; `user` is missing where the event says who it is."""

    user: NotRequired[User]
    nick: NotRequired[str | None]
    avatar: NotRequired[str | None]
    banner: NotRequired[str | None]
    roles: list[str]
    joined_at: str | None
    premium_since: NotRequired[str | None]
    deaf: bool
    mute: bool
    flags: int
    pending: NotRequired[bool]
    permissions: NotRequired[str]
    communication_disabled_until: NotRequired[str | None]
    avatar_decoration_data: NotRequired[AvatarDecoration | None]
    collectibles: NotRequired[Collectibles | None]


class PartialMember(TypedDict):
    """A member as messages and interactions show one: `deaf` and `mute` may be missing."""

    user: NotRequired[User]
    nick: NotRequired[str | None]
    avatar: NotRequired[str | None]
    banner: NotRequired[str | None]
    roles: list[str]
    joined_at: str | None
    premium_since: NotRequired[str | None]
    deaf: NotRequired[bool]
    mute: NotRequired[bool]
    flags: int
    pending: NotRequired[bool]
    permissions: NotRequired[str]
    communication_disabled_until: NotRequired[str | None]
    avatar_decoration_data: NotRequired[AvatarDecoration | None]
    collectibles: NotRequired[Collectibles | None]


class Mention(User):
    """A user whom a message names, in a guild with who that is there."""

    member: NotRequired[PartialMember]


class RoleColors(TypedDict):
    """The colours of a role."""

    primary_color: int
    secondary_color: int | None
    tertiary_color: int | None


class RoleTags(TypedDict):
    """Whose role it is; members of type None say yes by being there."""

    bot_id: NotRequired[str]
    integration_id: NotRequired[str]
    premium_subscriber: NotRequired[None]
    subscription_listing_id: NotRequired[str]
    available_for_purchase: NotRequired[None]
    guild_connections: NotRequired[None]


class Role(TypedDict):
    """A role of a guild."""

    id: str
    name: str
    color: int
    colors: RoleColors
    hoist: bool
    icon: NotRequired[str | None]
    unicode_emoji: NotRequired[str | None]
    position: int
    permissions: str
    managed: bool
    mentionable: bool
    tags: NotRequired[RoleTags]
    flags: int


class Emoji(TypedDict):
    """An emoji of a guild."""

    id: str | None
    name: str | None
    roles: NotRequired[list[str]]
    user: NotRequired[User]
    require_colons: NotRequired[bool]
    managed: NotRequired[bool]
    animated: NotRequired[bool]
    available: NotRequired[bool]


class PartialEmoji(TypedDict):
    """An emoji as it is used: `id` is None for a standard one."""

    id: NotRequired[str | None]
    name: NotRequired[str | None]
    animated: NotRequired[bool]


class Sticker(TypedDict):
    """A sticker."""

    id: str
    pack_id: NotRequired[str]
    name: str
    description: str | None
    tags: str
    type: int
    format_type: int
    available: NotRequired[bool]
    guild_id: NotRequired[str]
    user: NotRequired[User]
    sort_value: NotRequired[int]


class StickerItem(TypedDict):
    """As much of a sticker as shows it."""

    id: str
    name: str
    format_type: int


class PartialApplication(TypedDict):
    """As much of an application as an event says."""

    id: str
    name: NotRequired[str]
    icon: NotRequired[str | None]
    description: NotRequired[str]
    bot: NotRequired[User]
    verify_key: NotRequired[str]
    cover_image: NotRequired[str]
    flags: NotRequired[int]
    flags_new: NotRequired[str]
