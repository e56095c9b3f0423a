"""Guilds and what belongs to them."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .users import Emoji, Role, Sticker, User

__all__ = [
    "Guild",
    "IncidentsData",
    "NWeekday",
    "RecurrenceRule",
    "ScheduledEvent",
    "ScheduledEventMetadata",
    "SoundboardSound",
    "StageInstance",
    "UnavailableGuild",
    "WelcomeScreen",
    "WelcomeScreenChannel",
]


class WelcomeScreenChannel(TypedDict):
    """A channel that newcomers are shown."""

    channel_id: str
    description: str
    emoji_id: str | None
    emoji_name: str | None


class WelcomeScreen(TypedDict):
    """What newcomers are shown."""

    description: str | None
    welcome_channels: list[WelcomeScreenChannel]


class IncidentsData(TypedDict):
    """What is off because of a raid."""

    invites_disabled_until: str | None
    dms_disabled_until: str | None
    dm_spam_detected_at: NotRequired[str | None]
    raid_detected_at: NotRequired[str | None]


class StageInstance(TypedDict):
    """A stage that is live."""

    id: str
    guild_id: str
    channel_id: str
    topic: str
    privacy_level: int
    discoverable_disabled: bool
    guild_scheduled_event_id: str | None


class ScheduledEventMetadata(TypedDict):
    """Where an event takes place, when it is outside of Discord."""

    location: NotRequired[str]


class NWeekday(TypedDict):
    """A day of one week of a month."""

    n: int
    day: int


class RecurrenceRule(TypedDict):
    """How often an event comes again."""

    start: str
    end: str | None
    frequency: int
    interval: int
    by_weekday: list[int] | None
    by_n_weekday: list[NWeekday] | None
    by_month: list[int] | None
    by_month_day: list[int] | None
    by_year_day: list[int] | None
    count: int | None


class ScheduledEvent(TypedDict):
    """An event that was announced."""

    id: str
    guild_id: str
    channel_id: str | None
    creator_id: NotRequired[str | None]
    name: str
    description: NotRequired[str | None]
    scheduled_start_time: str
    scheduled_end_time: str | None
    privacy_level: int
    status: int
    entity_type: int
    entity_id: str | None
    entity_metadata: ScheduledEventMetadata | None
    creator: NotRequired[User]
    user_count: NotRequired[int]
    image: NotRequired[str | None]
    recurrence_rule: RecurrenceRule | None


class SoundboardSound(TypedDict):
    """A sound of the soundboard."""

    name: str
    sound_id: str
    volume: float
    emoji_id: str | None
    emoji_name: str | None
    guild_id: NotRequired[str]
    available: bool
    user: NotRequired[User]


class Guild(TypedDict):
    """A guild, as its own events have it."""

    id: str
    name: str
    icon: str | None
    icon_hash: NotRequired[str | None]
    splash: str | None
    discovery_splash: str | None
    owner: NotRequired[bool]
    owner_id: str
    permissions: NotRequired[str]
    region: NotRequired[str | None]
    afk_channel_id: str | None
    afk_timeout: int
    widget_enabled: NotRequired[bool]
    widget_channel_id: NotRequired[str | None]
    verification_level: int
    default_message_notifications: int
    explicit_content_filter: int
    roles: list[Role]
    emojis: list[Emoji]
    features: list[str]
    mfa_level: int
    application_id: str | None
    system_channel_id: str | None
    system_channel_flags: int
    rules_channel_id: str | None
    max_presences: NotRequired[int | None]
    max_members: NotRequired[int]
    vanity_url_code: str | None
    description: str | None
    banner: str | None
    premium_tier: int
    premium_subscription_count: NotRequired[int]
    preferred_locale: str
    public_updates_channel_id: str | None
    max_video_channel_users: NotRequired[int]
    max_stage_video_channel_users: NotRequired[int]
    approximate_member_count: NotRequired[int]
    approximate_presence_count: NotRequired[int]
    welcome_screen: NotRequired[WelcomeScreen]
    nsfw_level: int
    stickers: NotRequired[list[Sticker]]
    premium_progress_bar_enabled: bool
    safety_alerts_channel_id: str | None
    incidents_data: IncidentsData | None


class UnavailableGuild(TypedDict):
    """A guild of which nothing is known but its id."""

    id: str
    unavailable: NotRequired[bool]
