"""
Builders of dispatch data: one small function an event, each returning `(d, guild_id)`.

Maps are written in *descending* alphabetical order, and in
GUILD_AUDIT_LOG_ENTRY_CREATE `guild_id` stands at the very end: so they were captured from the
service (the order is observed, not promised). A test holds the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .guilds import channel_object, guild_create, guild_update, members_chunk, role_object
from .messages import (
    Built,
    message_create,
    message_delete,
    message_delete_bulk,
    message_update,
    reaction_add,
    reaction_remove,
)
from .population import Guild, Member, World

__all__ = ["BUILDERS", "Built"]


def poll_vote_add(world: World) -> Built:
    guild = world.guild()
    return {
        "user_id": guild.member().user_id,
        "message_id": world.clock.snowflake(),
        "guild_id": guild.key,
        "channel_id": guild.channel(),
        "answer_id": world.random.randint(1, 10),
    }, guild.id


_GAMES = ("Minecraft", "VALORANT", "League of Legends", "原神", "Stardew Valley", "osu!", "Rust")


def presence_update(world: World) -> Built:
    """Mostly a bare status; one in two plays something or has set a custom status."""
    rng = world.random
    guild = world.guild()
    status = rng.choice(("online", "idle", "dnd", "offline"))
    activities: list[dict[str, Any]] = []
    if status != "offline" and rng.random() < 0.55:
        activities.append(
            {
                "type": 4,
                "state": world.text(4),
                "name": "Custom Status",
                "id": "custom",
                "created_at": world.clock.unix_ms,
            }
        )
    if status != "offline" and rng.random() < 0.40:
        activities.append(
            {
                "type": 0,
                "timestamps": {"start": world.clock.unix_ms - rng.randint(0, 9_000_000)},
                "name": rng.choice(_GAMES),
                "id": world.hex(16),
                "created_at": world.clock.unix_ms,
                "application_id": world.old_snowflake(),
            }
        )
    return {
        "user": {"id": guild.member().user_id},
        "status": status,
        "processed_at_timestamp": world.clock.unix_ms,
        "guild_id": guild.key,
        "client_status": {} if status == "offline" else {rng.choice(("desktop", "mobile")): status},
        "broadcast": None,
        "activities": activities,
    }, guild.id


def typing_start(world: World) -> Built:
    guild = world.guild()
    member = guild.member()
    return {
        "user_id": member.user_id,
        "timestamp": world.clock.unix_s,
        "member": member.full,
        "guild_id": guild.key,
        "channel_id": guild.channel(),
    }, guild.id


def voice_state_update(world: World) -> Built:
    rng = world.random
    guild = world.guild()
    member = guild.member()
    return {
        "user_id": member.user_id,
        "suppress": False,
        "session_id": member.session_id,
        "self_video": rng.random() < 0.1,
        "self_mute": rng.random() < 0.4,
        "self_deaf": rng.random() < 0.2,
        "request_to_speak_timestamp": None,
        "mute": False,
        "member": member.full,
        "guild_id": guild.key,
        "deaf": False,
        "channel_id": rng.choice(guild.voice) if rng.random() < 0.7 else None,
    }, guild.id


def voice_channel_status_update(world: World) -> Built:
    guild = world.guild()
    status = world.text(4)
    channel_id = world.random.choice(guild.voice)
    return {"status": status, "id": channel_id, "guild_id": guild.key}, guild.id


def _member(
    guild: Guild, member: Member, *, roles: list[str], nick: str | None, joined_at: str, new: bool
) -> dict[str, Any]:
    """What the member events say: all of a member; `new` ones have not passed the screening."""
    return {
        "user": member.user,
        "unusual_dm_activity_until": None,
        "roles": roles,
        "premium_since": None,
        "pending": new,
        "nick": nick,
        "mute": False,
        "joined_at": joined_at,
        "guild_id": guild.key,
        "flags": 0,
        "deaf": False,
        "communication_disabled_until": None,
        "banner": None,
        "avatar": None,
    }


def member_add(world: World) -> Built:
    guild = world.guild()
    member = Member(world, guild.roles)
    joined_at = world.clock.timestamp()
    return _member(guild, member, roles=[], nick=None, joined_at=joined_at, new=True), guild.id


def member_update(world: World) -> Built:
    rng = world.random
    guild = world.guild()
    member = guild.member()
    roles = rng.sample(guild.roles, min(len(guild.roles), rng.randint(0, 6)))
    nick = world.text(1) if rng.random() < 0.3 else None
    joined_at = world.old_timestamp()
    data = _member(guild, member, roles=roles, nick=nick, joined_at=joined_at, new=False)
    return data, guild.id


def member_remove(world: World) -> Built:
    guild = world.guild()
    return {"user": guild.member().user, "guild_id": guild.key}, guild.id


def _with_permissions(member: orjson.Fragment) -> dict[str, Any]:
    """Add what a member has in an interaction: the permissions in its channel, computed."""
    data = orjson.loads(orjson.dumps(member))
    data["permissions"] = "2248473465835073"
    return dict(sorted(data.items(), reverse=True))


def interaction_create(world: World) -> Built:
    """A slash command (in a guild), with what the service resolves for it."""
    rng = world.random
    guild = world.guild()
    member = guild.member()
    target = guild.member()
    channel_id = guild.channel()
    options: list[dict[str, Any]] = [
        {"value": target.user_id, "type": 6, "name": "user"},
        {"value": world.text(rng.randint(1, 12)), "type": 3, "name": "reason"},
    ]
    channel = channel_object(world, channel_id, guild.roles)
    channel["permissions"] = "2248473465835073"
    channel["guild_id"] = guild.key
    data: dict[str, Any] = {
        "version": 1,
        "type": 2,
        "token": "aW50ZXJhY3Rpb246" + world.hex(160),
        "member": _with_permissions(member.full),
        "locale": rng.choice(("en-US", "en-GB", "de", "ja", "pt-BR", "ru")),
        "id": world.clock.snowflake(),
        "guild_locale": "en-US",
        "guild_id": guild.key,
        "guild": {"locale": "en-US", "id": guild.key, "features": ["COMMUNITY", "NEWS"]},
        "entitlements": [],
        "entitlement_sku_ids": [],
        "data": {
            "type": 1,
            "resolved": {
                "users": {target.user_id: target.user},
                "members": {target.user_id: _with_permissions(target.member)},
            },
            "options": options,
            "name": rng.choice(("warn", "profile", "play", "rank", "give", "timeout", "poll")),
            "id": world.application_id,
        },
        "context": 0,
        "channel_id": channel_id,
        "channel": dict(sorted(channel.items(), reverse=True)),
        "authorizing_integration_owners": {"0": guild.key},
        "attachment_size_limit": 10_485_760,
        "application_id": world.application_id,
        "app_permissions": "2248473465835073",
    }
    return data, guild.id


def thread(world: World) -> Built:
    rng = world.random
    guild = world.guild()
    return {
        "type": 11,
        "total_message_sent": rng.randint(0, 900),
        "thread_metadata": {
            "locked": False,
            "create_timestamp": world.old_timestamp(),
            "auto_archive_duration": 4320,
            "archived": rng.random() < 0.3,
            "archive_timestamp": world.clock.timestamp(),
        },
        "rate_limit_per_user": 0,
        "parent_id": guild.channel(),
        "owner_id": guild.member().user_id,
        "name": world.text(4),
        "message_count": rng.randint(0, 900),
        "member_count": rng.randint(1, 50),
        "last_message_id": world.clock.snowflake(),
        "id": world.old_snowflake(),
        "guild_id": guild.key,
        "flags": 0,
    }, guild.id


def thread_delete(world: World) -> Built:
    guild = world.guild()
    return {
        "type": 11,
        "parent_id": guild.channel(),
        "id": world.old_snowflake(),
        "guild_id": guild.key,
    }, guild.id


def audit_log_entry(world: World) -> Built:
    rng = world.random
    guild = world.guild()
    return {
        "user_id": guild.member().user_id,
        "target_id": guild.member().user_id,
        "reason": world.text(6) if rng.random() < 0.5 else None,
        "options": {"count": "1", "channel_id": guild.channel()},
        "id": world.clock.snowflake(),
        "changes": [
            {"new_value": [{"name": world.role_name(), "id": rng.choice(guild.roles)}], "key": key}
            for key in rng.choice((("$add",), ("$remove",), ("$add", "$remove")))
        ],
        "action_type": rng.choice((20, 22, 24, 25, 25, 25, 26, 72)),
        "guild_id": guild.key,
    }, guild.id


def automod_execution(world: World) -> Built:
    guild = world.guild()
    content = world.text(12)
    return {
        "user_id": guild.member().user_id,
        "rule_trigger_type": 1,
        "rule_id": world.old_snowflake(),
        "message_id": world.clock.snowflake(),
        "matched_keyword": content[:5],
        "matched_content": content[:5],
        "guild_id": guild.key,
        "content": content,
        "channel_id": guild.channel(),
        "action": {"type": 1, "metadata": {"custom_message": world.text(6)}},
    }, guild.id


def channel_event(world: World) -> Built:
    guild = world.guild()
    channel = channel_object(world, guild.channel(), guild.roles)
    channel["guild_id"] = guild.key
    return dict(sorted(channel.items(), reverse=True)), guild.id


def channel_pins_update(world: World) -> Built:
    guild = world.guild()
    return {
        "last_pin_timestamp": world.clock.timestamp(),
        "guild_id": guild.key,
        "channel_id": guild.channel(),
    }, guild.id


def role_event(world: World) -> Built:
    guild = world.guild()
    role = role_object(world, world.random.choice(guild.roles), 3)
    return {"role": role, "guild_id": guild.key}, guild.id


def role_delete(world: World) -> Built:
    guild = world.guild()
    return {"role_id": world.random.choice(guild.roles), "guild_id": guild.key}, guild.id


def ban_event(world: World) -> Built:
    guild = world.guild()
    return {"user": guild.member().user, "guild_id": guild.key}, guild.id


def invite_create(world: World) -> Built:
    guild = world.guild()
    return {
        "uses": 0,
        "type": 0,
        "temporary": False,
        "max_uses": 0,
        "max_age": 604800,
        "inviter": guild.member().user,
        "guild_id": guild.key,
        "expires_at": world.clock.timestamp(604_800_000),
        "created_at": world.clock.timestamp(),
        "code": world.hex(8),
        "channel_id": guild.channel(),
    }, guild.id


def invite_delete(world: World) -> Built:
    guild = world.guild()
    return {"guild_id": guild.key, "code": world.hex(8), "channel_id": guild.channel()}, guild.id


def webhooks_update(world: World) -> Built:
    guild = world.guild()
    return {"guild_id": guild.key, "channel_id": guild.channel()}, guild.id


def scheduled_event_user(world: World) -> Built:
    guild = world.guild()
    return {
        "user_id": guild.member().user_id,
        "guild_scheduled_event_id": world.old_snowflake(),
        "guild_id": guild.key,
    }, guild.id


def guild_delete(world: World) -> Built:
    """An outage (`unavailable`), the usual cause."""
    guild = world.guild()
    return {"unavailable": True, "id": guild.key}, guild.id


def entitlement_create(world: World) -> Built:
    """A purchase by a user: it belongs to no guild and goes to shard 0."""
    return {
        "user_id": world.old_snowflake(),
        "type": 8,
        "starts_at": world.clock.timestamp(),
        "sku_id": world.old_snowflake(),
        "id": world.clock.snowflake(),
        "ends_at": None,
        "deleted": False,
        "consumed": False,
        "application_id": world.application_id,
    }, None


BUILDERS: dict[str, Callable[[World], Built]] = {
    "AUTO_MODERATION_ACTION_EXECUTION": automod_execution,
    "CHANNEL_CREATE": channel_event,
    "CHANNEL_DELETE": channel_event,
    "CHANNEL_PINS_UPDATE": channel_pins_update,
    "CHANNEL_UPDATE": channel_event,
    "ENTITLEMENT_CREATE": entitlement_create,
    "GUILD_AUDIT_LOG_ENTRY_CREATE": audit_log_entry,
    "GUILD_BAN_ADD": ban_event,
    "GUILD_BAN_REMOVE": ban_event,
    "GUILD_CREATE": guild_create,
    "GUILD_DELETE": guild_delete,
    "GUILD_MEMBERS_CHUNK": members_chunk,
    "GUILD_MEMBER_ADD": member_add,
    "GUILD_MEMBER_REMOVE": member_remove,
    "GUILD_MEMBER_UPDATE": member_update,
    "GUILD_ROLE_CREATE": role_event,
    "GUILD_ROLE_DELETE": role_delete,
    "GUILD_ROLE_UPDATE": role_event,
    "GUILD_SCHEDULED_EVENT_USER_ADD": scheduled_event_user,
    "GUILD_UPDATE": guild_update,
    "INTERACTION_CREATE": interaction_create,
    "INVITE_CREATE": invite_create,
    "INVITE_DELETE": invite_delete,
    "MESSAGE_CREATE": message_create,
    "MESSAGE_DELETE": message_delete,
    "MESSAGE_DELETE_BULK": message_delete_bulk,
    "MESSAGE_POLL_VOTE_ADD": poll_vote_add,
    "MESSAGE_REACTION_ADD": reaction_add,
    "MESSAGE_REACTION_REMOVE": reaction_remove,
    "MESSAGE_UPDATE": message_update,
    "PRESENCE_UPDATE": presence_update,
    "THREAD_CREATE": thread,
    "THREAD_DELETE": thread_delete,
    "THREAD_UPDATE": thread,
    "TYPING_START": typing_start,
    "VOICE_CHANNEL_STATUS_UPDATE": voice_channel_status_update,
    "VOICE_STATE_UPDATE": voice_state_update,
    "WEBHOOKS_UPDATE": webhooks_update,
}
