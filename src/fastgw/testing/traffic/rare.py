"""
Builders of what comes seldom, so that traffic can hold every event that a library has a parser for.

A table of shares, `EVERY_EVENT`, gives each name its turn; in the mix of a large bot these would be
a handful in ten thousand. Maps descend alphabetically here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .events import BUILDERS as COMMON
from .guilds import emoji_object
from .messages import Built, emoji
from .population import Guild, World

__all__ = ["BUILDERS", "EVERY_EVENT"]


def _descending(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _descending(value[key]) for key in sorted(value, reverse=True)}
    return [_descending(inner) for inner in value] if isinstance(value, list) else value


# --- messages ------------------------------------------------------------------------------------


def _about_message(world: World, guild: Guild, **more: Any) -> Built:
    about = {"message_id": world.clock.snowflake(), "channel_id": guild.channel()}
    return {**about, "guild_id": guild.key, **more}, guild.id


def reactions_removed(world: World) -> Built:
    return _about_message(world, world.guild())


def reactions_of_emoji_removed(world: World) -> Built:
    return _about_message(world, world.guild(), emoji=emoji(world))


def poll_vote_removed(world: World) -> Built:
    guild = world.guild()
    voter = guild.member().user_id
    return _about_message(world, guild, user_id=voter, answer_id=world.random.randint(1, 10))


# --- threads -------------------------------------------------------------------------------------


def _thread_member(world: World, thread_id: str, user_id: str) -> dict[str, Any]:
    joined_at = world.clock.timestamp()
    return {"id": thread_id, "user_id": user_id, "join_timestamp": joined_at, "flags": 1}


def thread_list_sync(world: World) -> Built:
    guild = world.guild()
    thread, _ = COMMON["THREAD_CREATE"](world)
    channel_id = guild.channel()
    thread |= {"guild_id": guild.key, "parent_id": channel_id, "owner_id": guild.member().user_id}
    return {
        "guild_id": guild.key,
        "channel_ids": [channel_id],
        "threads": [thread],
        "members": [_thread_member(world, thread["id"], world.application_id)],
    }, guild.id


def thread_member_update(world: World) -> Built:
    guild = world.guild()
    member = _thread_member(world, world.old_snowflake(), world.application_id)
    return {**member, "guild_id": guild.key}, guild.id


def thread_members_update(world: World) -> Built:
    guild = world.guild()
    thread_id, member = world.old_snowflake(), guild.member()
    added = _thread_member(world, thread_id, member.user_id)
    return {
        "id": thread_id,
        "guild_id": guild.key,
        "member_count": world.random.randint(1, 50),
        "added_members": [{**added, "member": member.full, "presence": None}],
        "removed_member_ids": [guild.member().user_id],
    }, guild.id


# --- what a guild has ----------------------------------------------------------------------------


def emojis_update(world: World) -> Built:
    guild = world.guild()
    return {"guild_id": guild.key, "emojis": [emoji_object(world) for _ in range(3)]}, guild.id


def stickers_update(world: World) -> Built:
    guild = world.guild()
    sticker = {
        "id": world.old_snowflake(),
        "name": world.handle(),
        "description": None,
        "tags": "wave",
        "type": 2,
        "format_type": 1,
        "available": True,
        "guild_id": guild.key,
    }
    return {"guild_id": guild.key, "stickers": [sticker]}, guild.id


def _sound(world: World, guild: Guild) -> dict[str, Any]:
    return {
        "name": world.handle(),
        "sound_id": world.old_snowflake(),
        "volume": 0.5,
        "emoji_id": None,
        "emoji_name": "🔥",
        "guild_id": guild.key,
        "available": True,
        "user": guild.member().user,
    }


def sound_event(world: World) -> Built:
    guild = world.guild()
    return _sound(world, guild), guild.id


def sound_delete(world: World) -> Built:
    guild = world.guild()
    return {"sound_id": world.old_snowflake(), "guild_id": guild.key}, guild.id


def sounds_update(world: World) -> Built:
    guild = world.guild()
    return {"guild_id": guild.key, "soundboard_sounds": [_sound(world, guild)]}, guild.id


def stage_event(world: World) -> Built:
    guild = world.guild()
    return {
        "id": world.old_snowflake(),
        "guild_id": guild.key,
        "channel_id": guild.voice[0],
        "topic": world.text(4),
        "privacy_level": 2,
        "discoverable_disabled": False,
        "guild_scheduled_event_id": None,
    }, guild.id


def scheduled_event(world: World) -> Built:
    guild = world.guild()
    return {
        "id": world.old_snowflake(),
        "guild_id": guild.key,
        "channel_id": None,
        "creator_id": guild.member().user_id,
        "name": world.text(3),
        "description": world.text(8),
        "scheduled_start_time": world.clock.timestamp(3_600_000),
        "scheduled_end_time": world.clock.timestamp(7_200_000),
        "privacy_level": 2,
        "status": 1,
        "entity_type": 3,
        "entity_id": None,
        "entity_metadata": {"location": world.text(2)},
        "user_count": world.random.randrange(50),
        "image": None,
        "recurrence_rule": None,
    }, guild.id


def automod_rule(world: World) -> Built:
    guild = world.guild()
    return {
        "id": world.old_snowflake(),
        "guild_id": guild.key,
        "name": world.text(2),
        "creator_id": guild.member().user_id,
        "event_type": 1,
        "trigger_type": 1,
        "trigger_metadata": {"keyword_filter": ["ffs"], "regex_patterns": [], "allow_list": []},
        "actions": [{"type": 1, "metadata": {"custom_message": world.text(4)}}],
        "enabled": True,
        "exempt_roles": [],
        "exempt_channels": [guild.channel()],
    }, guild.id


def integration_event(world: World) -> Built:
    guild = world.guild()
    return {
        "id": world.old_snowflake(),
        "guild_id": guild.key,
        "name": world.handle(),
        "type": "twitch",
        "enabled": True,
        "syncing": False,
        "role_id": guild.roles[0],
        "enable_emoticons": True,
        "expire_behavior": 0,
        "expire_grace_period": 7,
        "user": guild.member().user,
        "account": {"id": world.hex(8), "name": world.handle()},
        "synced_at": world.clock.timestamp(),
        "subscriber_count": 3,
        "revoked": False,
    }, guild.id


def integration_delete(world: World) -> Built:
    guild = world.guild()
    return {"id": world.old_snowflake(), "guild_id": guild.key}, guild.id


def integrations_update(world: World) -> Built:
    guild = world.guild()
    return {"guild_id": guild.key}, guild.id


def command_permissions(world: World) -> Built:
    guild = world.guild()
    return {
        "id": world.old_snowflake(),
        "application_id": world.application_id,
        "guild_id": guild.key,
        "permissions": [{"id": guild.roles[0], "type": 1, "permission": True}],
    }, guild.id


# --- voice ---------------------------------------------------------------------------------------


def voice_server(world: World) -> Built:
    guild = world.guild()
    return {
        "token": world.hex(16),
        "guild_id": guild.key,
        "endpoint": "voice.invalid:443",
    }, guild.id


def voice_effect(world: World) -> Built:
    guild = world.guild()
    return {
        "channel_id": guild.voice[0],
        "guild_id": guild.key,
        "user_id": guild.member().user_id,
        "emoji": {"id": None, "name": "🎉", "animated": False},
        "animation_type": 0,
        "animation_id": 4,
    }, guild.id


def voice_start_time(world: World) -> Built:
    guild = world.guild()
    began = world.clock.unix_s
    return {"id": guild.voice[0], "guild_id": guild.key, "voice_start_time": began}, guild.id


def channel_info(world: World) -> Built:
    guild = world.guild()
    channel = {"id": guild.voice[0], "status": None, "voice_start_time": world.clock.unix_s}
    return {"guild_id": guild.key, "channels": [channel]}, guild.id


# --- of no guild ---------------------------------------------------------------------------------


def user_update(world: World) -> Built:
    """The bot's own user, as READY of the fake service names it."""
    return {
        "id": "80351110224678912",
        "username": world.handle(),
        "global_name": None,
        "discriminator": "0001",
        "avatar": world.hex(32),
        "bot": True,
        "verified": True,
        "mfa_enabled": True,
        "flags": 0,
        "email": None,
        "locale": "en-US",
    }, None


def subscription_event(world: World) -> Built:
    return {
        "id": world.old_snowflake(),
        "user_id": world.old_snowflake(),
        "sku_ids": [world.old_snowflake()],
        "entitlement_ids": [world.old_snowflake()],
        "renewal_sku_ids": None,
        "current_period_start": world.clock.timestamp(),
        "current_period_end": world.clock.timestamp(2_592_000_000),
        "status": 0,
        "canceled_at": None,
    }, None


_RARE: dict[str, Callable[[World], Built]] = {
    "APPLICATION_COMMAND_PERMISSIONS_UPDATE": command_permissions,
    "AUTO_MODERATION_RULE_CREATE": automod_rule,
    "AUTO_MODERATION_RULE_DELETE": automod_rule,
    "AUTO_MODERATION_RULE_UPDATE": automod_rule,
    "CHANNEL_INFO": channel_info,
    "ENTITLEMENT_DELETE": COMMON["ENTITLEMENT_CREATE"],
    "ENTITLEMENT_UPDATE": COMMON["ENTITLEMENT_CREATE"],
    "GUILD_EMOJIS_UPDATE": emojis_update,
    "GUILD_INTEGRATIONS_UPDATE": integrations_update,
    "GUILD_SCHEDULED_EVENT_CREATE": scheduled_event,
    "GUILD_SCHEDULED_EVENT_DELETE": scheduled_event,
    "GUILD_SCHEDULED_EVENT_UPDATE": scheduled_event,
    "GUILD_SCHEDULED_EVENT_USER_REMOVE": COMMON["GUILD_SCHEDULED_EVENT_USER_ADD"],
    "GUILD_SOUNDBOARD_SOUNDS_UPDATE": sounds_update,
    "GUILD_SOUNDBOARD_SOUND_CREATE": sound_event,
    "GUILD_SOUNDBOARD_SOUND_DELETE": sound_delete,
    "GUILD_SOUNDBOARD_SOUND_UPDATE": sound_event,
    "GUILD_STICKERS_UPDATE": stickers_update,
    "INTEGRATION_CREATE": integration_event,
    "INTEGRATION_DELETE": integration_delete,
    "INTEGRATION_UPDATE": integration_event,
    "MESSAGE_POLL_VOTE_REMOVE": poll_vote_removed,
    "MESSAGE_REACTION_REMOVE_ALL": reactions_removed,
    "MESSAGE_REACTION_REMOVE_EMOJI": reactions_of_emoji_removed,
    "SOUNDBOARD_SOUNDS": sounds_update,
    "STAGE_INSTANCE_CREATE": stage_event,
    "STAGE_INSTANCE_DELETE": stage_event,
    "STAGE_INSTANCE_UPDATE": stage_event,
    "SUBSCRIPTION_CREATE": subscription_event,
    "SUBSCRIPTION_DELETE": subscription_event,
    "SUBSCRIPTION_UPDATE": subscription_event,
    "THREAD_LIST_SYNC": thread_list_sync,
    "THREAD_MEMBERS_UPDATE": thread_members_update,
    "THREAD_MEMBER_UPDATE": thread_member_update,
    "USER_UPDATE": user_update,
    "VOICE_CHANNEL_EFFECT_SEND": voice_effect,
    "VOICE_CHANNEL_START_TIME_UPDATE": voice_start_time,
    "VOICE_SERVER_UPDATE": voice_server,
}


def _in_wire_order(build: Callable[[World], Built]) -> Callable[[World], Built]:
    def built(world: World) -> Built:
        data, guild_id = build(world)
        return _descending(data), guild_id

    return built


BUILDERS: dict[str, Callable[[World], Built]] = {
    **COMMON,
    **{name: _in_wire_order(build) for name, build in _RARE.items()},
}
# Each name comes; what changes caches and what comes and goes in guilds is common enough.
EVERY_EVENT: Mapping[str, float] = {
    **{name: 6 if name.startswith(("MESSAGE_", "PRESENCE_")) else 2 for name in BUILDERS},
    "MESSAGE_CREATE": 30,
    "GUILD_CREATE": 4,
    "GUILD_DELETE": 3,
}
