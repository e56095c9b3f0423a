"""Channels, threads and voice states."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .users import Member, User

__all__ = [
    "Channel",
    "DefaultReaction",
    "ForumTag",
    "Overwrite",
    "ThreadMember",
    "ThreadMetadata",
    "VoiceState",
]


class Overwrite(TypedDict):
    """What a role or a member may do in one channel."""

    id: str
    type: int
    allow: str
    deny: str


class ThreadMetadata(TypedDict):
    """What only threads have."""

    archived: bool
    auto_archive_duration: int
    archive_timestamp: str
    locked: bool
    invitable: NotRequired[bool]
    create_timestamp: NotRequired[str | None]


class ThreadMember(TypedDict):
    """Somebody in a thread."""

    id: NotRequired[str]
    user_id: NotRequired[str]
    join_timestamp: str
    flags: int
    member: NotRequired[Member]


class DefaultReaction(TypedDict):
    """The reaction that is offered first."""

    emoji_id: str | None
    emoji_name: str | None


class ForumTag(TypedDict):
    """A tag of a forum."""

    id: str
    name: str
    moderated: bool
    emoji_id: str | None
    emoji_name: str | None


class Channel(TypedDict):
    """A channel or thread of any type; which members there are depends on it."""

    id: str
    type: int
    guild_id: NotRequired[str]
    position: NotRequired[int]
    permission_overwrites: NotRequired[list[Overwrite]]
    name: NotRequired[str | None]
    topic: NotRequired[str | None]
    nsfw: NotRequired[bool]
    last_message_id: NotRequired[str | None]
    bitrate: NotRequired[int]
    user_limit: NotRequired[int]
    rate_limit_per_user: NotRequired[int]
    recipients: NotRequired[list[User]]
    icon: NotRequired[str | None]
    owner_id: NotRequired[str]
    application_id: NotRequired[str | None]
    managed: NotRequired[bool]
    parent_id: NotRequired[str | None]
    last_pin_timestamp: NotRequired[str | None]
    rtc_region: NotRequired[str | None]
    video_quality_mode: NotRequired[int]
    message_count: NotRequired[int]
    member_count: NotRequired[int]
    thread_metadata: NotRequired[ThreadMetadata]
    member: NotRequired[ThreadMember]
    default_auto_archive_duration: NotRequired[int]
    permissions: NotRequired[str]
    app_permissions: NotRequired[str]
    flags: NotRequired[int]
    total_message_sent: NotRequired[int]
    available_tags: NotRequired[list[ForumTag]]
    applied_tags: NotRequired[list[str]]
    default_reaction_emoji: NotRequired[DefaultReaction | None]
    default_thread_rate_limit_per_user: NotRequired[int]
    default_sort_order: NotRequired[int | None]
    default_forum_layout: NotRequired[int]


class VoiceState(TypedDict):
    """Where somebody is in voice, and how."""

    guild_id: NotRequired[str]
    channel_id: str | None
    user_id: str
    member: NotRequired[Member]
    session_id: str
    deaf: bool
    mute: bool
    self_deaf: bool
    self_mute: bool
    self_stream: NotRequired[bool]
    self_video: bool
    suppress: bool
    request_to_speak_timestamp: str | None
