"""
The large objects of the start-up burst: GUILD_CREATE, GUILD_UPDATE, GUILD_MEMBERS_CHUNK.

A guild's size is drawn log-normally: 10 KB to 2 MB, mean about 76 KB. It is then filled with
channels, roles, emojis, members and presences until it is reached. Maps over 32 keys come from the
service in the order of a hash, not of the alphabet; a checksum of the key plays that hash here.
"""

from __future__ import annotations

import math
from typing import Any
from zlib import crc32

from .population import BASE_PERMISSIONS, Member, World

__all__ = [
    "channel_object",
    "emoji_object",
    "guild_create",
    "guild_update",
    "members_chunk",
    "role_object",
]

MIN_GUILD_BYTES = 10_000
MAX_GUILD_BYTES = 2_000_000
# exp(mu + sigma^2 / 2) is about 76 KB, the mean of the start-up burst that clients are compared on.
_GUILD_MU = math.log(49_000)
_GUILD_SIGMA = 1.05

# Bytes of one encoded object, measured on this generator; they turn a size into counts.
_CHANNEL_BYTES, _ROLE_BYTES, _EMOJI_BYTES, _MEMBER_BYTES, _PRESENCE_BYTES = 540, 305, 135, 610, 135
_FRAME_BYTES = 2_600


def channel_object(world: World, channel_id: str, roles: list[str]) -> dict[str, Any]:
    """Build a text channel with permission overwrites, as inside GUILD_CREATE (no guild_id)."""
    rng = world.random
    overwrites = [
        {
            "type": 0,
            "id": rng.choice(roles),
            "deny": rng.choice(BASE_PERMISSIONS),
            "allow": rng.choice(BASE_PERMISSIONS),
        }
        for _ in range(rng.choice((0, 1, 1, 2, 4)))
    ]
    return {
        "version": world.clock.unix_ms,
        "type": 0,
        "topic": world.text(10) if rng.random() < 0.3 else None,
        "rate_limit_per_user": rng.choice((0, 0, 0, 5, 30)),
        "position": rng.randrange(60),
        "permission_overwrites": overwrites,
        "parent_id": rng.choice(roles),
        "nsfw": False,
        "name": world.channel_name(),
        "last_message_id": world.old_snowflake(),
        "id": channel_id,
        "icon_emoji": {"name": "💬", "id": None},
        "flags": 0,
    }


def role_object(world: World, role_id: str, position: int) -> dict[str, Any]:
    """Build a role."""
    rng = world.random
    color = rng.choice((0, 0, 3447003, 15158332, 10181046))
    return {
        "version": world.clock.unix_ms,
        "unicode_emoji": None,
        "tags": {},
        "position": position,
        "permissions": rng.choice(BASE_PERMISSIONS),
        "name": world.role_name(),
        "mentionable": rng.random() < 0.2,
        "managed": False,
        "id": role_id,
        "icon": None,
        "hoist": rng.random() < 0.3,
        "flags": 0,
        "colors": {"tertiary_color": None, "secondary_color": None, "primary_color": color},
        "color": color,
    }


def emoji_object(world: World) -> dict[str, Any]:
    return {
        "version": 0,
        "roles": [],
        "require_colons": True,
        "name": world.handle(),
        "managed": False,
        "id": world.old_snowflake(),
        "available": True,
        "animated": world.random.random() < 0.3,
    }


def _presence(world: World, member: Member) -> dict[str, Any]:
    status = world.random.choice(("online", "idle", "dnd"))
    return {
        "user": {"id": member.user_id},
        "status": status,
        "processed_at_timestamp": 0,
        "client_status": {"desktop": status},
        "activities": [],
    }


def _voice_state(world: World, member: Member, channel_id: str) -> dict[str, Any]:
    return {
        "user_id": member.user_id,
        "suppress": False,
        "session_id": member.session_id,
        "self_video": False,
        "self_mute": world.random.random() < 0.4,
        "self_deaf": False,
        "request_to_speak_timestamp": None,
        "mute": False,
        "deaf": False,
        "channel_id": channel_id,
    }


def _ids(known: list[str], count: int, world: World) -> list[str]:
    """Begin with the ids that later events name; make the rest up."""
    return known[:count] + [world.old_snowflake() for _ in range(count - len(known))]


def _pool(world: World, roles: list[str], count: int) -> list[Member]:
    """Make members; above 400 they repeat in another order (making each costs 20 µs)."""
    fresh = [Member(world, roles) for _ in range(min(count, 400))]
    return fresh + [world.random.choice(fresh) for _ in range(count - len(fresh))]


def _properties(world: World, key: str, name: str) -> dict[str, Any]:
    """Build what GUILD_CREATE and GUILD_UPDATE share."""
    rng = world.random
    return {
        "afk_channel_id": None,
        "afk_timeout": 300,
        "application_id": None,
        "banner": None,
        "default_message_notifications": 1,
        "description": world.text(12) if rng.random() < 0.4 else None,
        "discovery_splash": None,
        "explicit_content_filter": 2,
        "features": ["COMMUNITY", "NEWS", "ANIMATED_ICON", "INVITE_SPLASH", "SOUNDBOARD"],
        "hub_type": None,
        "icon": world.hex(32),
        "id": key,
        "incidents_data": None,
        "inventory_settings": None,
        "latest_onboarding_question_id": None,
        "max_members": 500_000,
        "max_presences": None,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "mfa_level": 0,
        "name": name,
        "nsfw": False,
        "nsfw_level": 0,
        "owner_id": world.old_snowflake(),
        "preferred_locale": rng.choice(("en-US", "de", "ja", "ru", "pt-BR")),
        "premium_progress_bar_enabled": rng.random() < 0.5,
        "premium_subscription_count": rng.randrange(30),
        "premium_tier": rng.randrange(4),
        "profile": None,
        "public_updates_channel_id": None,
        "region": "deprecated",
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "splash": None,
        "stickers": [],
        "system_channel_flags": 0,
        "system_channel_id": None,
        "vanity_url_code": None,
        "verification_level": 2,
        "version": world.clock.unix_ms,
        "widget_channel_id": None,
        "widget_enabled": False,
    }


def _in_hash_order(data: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(data.items(), key=lambda item: crc32(item[0].encode())))


def guild_create(world: World, guild_id: int | None = None) -> tuple[dict[str, Any], int]:
    """Build a whole guild; without an id, one is drawn (a guild that becomes available again)."""
    rng = world.random
    guild = world.guild(guild_id)
    size = min(max(rng.lognormvariate(_GUILD_MU, _GUILD_SIGMA), 1.45 * MIN_GUILD_BYTES),
               0.92 * MAX_GUILD_BYTES)  # fmt: skip
    # A guild has at most 500 channels and 250 roles; beyond that, size means members.
    channel_ids = _ids(guild.channels, min(500, int(0.30 * size / _CHANNEL_BYTES)), world)
    role_ids = _ids(guild.roles, min(250, max(2, int(0.14 * size / _ROLE_BYTES))), world)
    emojis = [emoji_object(world) for _ in range(min(250, int(0.07 * size / _EMOJI_BYTES)))]
    rest = size - _FRAME_BYTES - len(channel_ids) * _CHANNEL_BYTES
    rest -= len(role_ids) * _ROLE_BYTES + len(emojis) * _EMOJI_BYTES
    members = _pool(world, role_ids, max(2, int(rest / (_MEMBER_BYTES + 0.6 * _PRESENCE_BYTES))))
    roles = [role_object(world, role_id, index) for index, role_id in enumerate(role_ids)]
    data = _properties(world, guild.key, guild.name)
    data |= {
        "activity_instances": [],
        "application_command_counts": {"3": 2, "2": 1, "1": 12},
        "channels": [channel_object(world, channel_id, role_ids) for channel_id in channel_ids],
        "embedded_activities": [],
        "emojis": emojis,
        "guild_scheduled_events": [],
        "home_header": None,
        "joined_at": world.old_timestamp(),
        "large": len(members) > 250,
        "lazy": True,
        "member_count": len(members) * 3,
        "members": [member.full for member in members],
        "presences": [_presence(world, member) for member in members[: int(len(members) * 0.6)]],
        "roles": roles,
        "soundboard_sounds": [],
        "stage_instances": [],
        "threads": [],
        "unavailable": False,
        "voice_states": [
            _voice_state(world, member, guild.voice[0]) for member in members[: len(members) // 20]
        ],
    }
    return _in_hash_order(data), guild.id


def guild_update(world: World) -> tuple[dict[str, Any], int]:
    """Build a guild's own properties, its roles and emojis, without members and channels."""
    guild = world.guild()
    data = _properties(world, guild.key, guild.name)
    data["roles"] = [role_object(world, role_id, i) for i, role_id in enumerate(guild.roles)]
    data["emojis"] = [emoji_object(world) for _ in range(20)]
    data["guild_id"] = guild.key
    return _in_hash_order(data), guild.id


def members_chunk(world: World, count: int = 100) -> tuple[dict[str, Any], int]:
    """Build one GUILD_MEMBERS_CHUNK of `count` members (the service sends up to 1000)."""
    guild = world.guild()
    members = [member.full for member in _pool(world, guild.roles, count)]
    return {
        "not_found": [],
        "members": members,
        "guild_id": guild.key,
        "chunk_index": 0,
        "chunk_count": 1,
    }, guild.id
