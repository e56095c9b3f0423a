"""Presences and activities."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .users import PresenceUser

__all__ = [
    "Activity",
    "ActivityAssets",
    "ActivityEmoji",
    "ActivityParty",
    "ActivitySecrets",
    "ActivityTimestamps",
    "ClientStatus",
    "Presence",
]


class ActivityTimestamps(TypedDict):
    """When it began and ends, in milliseconds since 1970."""

    start: NotRequired[int]
    end: NotRequired[int]


class ActivityEmoji(TypedDict):
    """The emoji of a custom status."""

    name: str
    id: NotRequired[str]
    animated: NotRequired[bool]


class ActivityParty(TypedDict):
    """Who plays together."""

    id: NotRequired[str]
    size: NotRequired[list[int]]


class ActivityAssets(TypedDict):
    """Images of an activity."""

    large_image: NotRequired[str]
    large_text: NotRequired[str]
    large_url: NotRequired[str]
    small_image: NotRequired[str]
    small_text: NotRequired[str]
    small_url: NotRequired[str]
    invite_cover_image: NotRequired[str]


class ActivitySecrets(TypedDict):
    """Secrets to join."""

    join: NotRequired[str]
    spectate: NotRequired[str]
    match: NotRequired[str]


class Activity(TypedDict):
    """What somebody does."""

    name: str
    type: int
    url: NotRequired[str | None]
    created_at: int
    timestamps: NotRequired[ActivityTimestamps]
    application_id: NotRequired[str]
    status_display_type: NotRequired[int | None]
    details: NotRequired[str | None]
    details_url: NotRequired[str | None]
    state: NotRequired[str | None]
    state_url: NotRequired[str | None]
    emoji: NotRequired[ActivityEmoji | None]
    party: NotRequired[ActivityParty]
    assets: NotRequired[ActivityAssets]
    secrets: NotRequired[ActivitySecrets]
    instance: NotRequired[bool]
    flags: NotRequired[int]
    buttons: NotRequired[list[str]]


class ClientStatus(TypedDict):
    """The status on each platform."""

    desktop: NotRequired[str]
    mobile: NotRequired[str]
    web: NotRequired[str]
    vr: NotRequired[str]


class Presence(TypedDict):
    """How somebody is, and what they do."""

    user: PresenceUser
    status: str
    activities: list[Activity]
    client_status: ClientStatus
