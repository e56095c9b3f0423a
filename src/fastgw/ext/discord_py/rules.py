"""
What besides listeners an event may matter to, by the name of the event.

An event without a rule changes what a bot knows of guilds, channels, threads, roles and voice, or
answers something it asked; it is always wanted.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["RULES", "Rule", "why_always"]


class Rule(Enum):
    """Who else can tell whether an event came."""

    MESSAGES = "the cache of messages"
    MEMBERS = "the cache of members"
    OWN_MEMBER = "the cache of members, and the bot's own member, which is always kept"
    NOBODY = "nobody"


_MESSAGES = (
    "MESSAGE_CREATE MESSAGE_UPDATE MESSAGE_DELETE MESSAGE_DELETE_BULK MESSAGE_REACTION_ADD "
    "MESSAGE_REACTION_REMOVE MESSAGE_REACTION_REMOVE_ALL MESSAGE_REACTION_REMOVE_EMOJI "
    "MESSAGE_POLL_VOTE_ADD MESSAGE_POLL_VOTE_REMOVE"
)
_MEMBERS = "GUILD_SCHEDULED_EVENT_USER_ADD GUILD_SCHEDULED_EVENT_USER_REMOVE"
_OWN_MEMBER = "GUILD_MEMBER_UPDATE PRESENCE_UPDATE"
_NOBODY = (
    "TYPING_START INVITE_CREATE INVITE_DELETE INTEGRATION_CREATE INTEGRATION_UPDATE "
    "INTEGRATION_DELETE GUILD_INTEGRATIONS_UPDATE WEBHOOKS_UPDATE AUTO_MODERATION_RULE_CREATE "
    "AUTO_MODERATION_RULE_UPDATE AUTO_MODERATION_RULE_DELETE AUTO_MODERATION_ACTION_EXECUTION "
    "GUILD_AUDIT_LOG_ENTRY_CREATE GUILD_BAN_ADD GUILD_BAN_REMOVE "
    "ENTITLEMENT_CREATE ENTITLEMENT_UPDATE ENTITLEMENT_DELETE SUBSCRIPTION_CREATE "
    "SUBSCRIPTION_UPDATE SUBSCRIPTION_DELETE VOICE_CHANNEL_EFFECT_SEND "
    "APPLICATION_COMMAND_PERMISSIONS_UPDATE"
)
RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (_MESSAGES, Rule.MESSAGES),
        (_MEMBERS, Rule.MEMBERS),
        (_OWN_MEMBER, Rule.OWN_MEMBER),
        (_NOBODY, Rule.NOBODY),
    )
    for name in names.split()
}

# Of events without a rule, those that are not about the guilds. Short: a line has 80 columns.
_ALWAYS = {
    "READY": "the session",
    "RESUMED": "the session",
    "INTERACTION_CREATE": "commands, buttons",
    "GUILD_MEMBERS_CHUNK": "members asked for",
    "VOICE_SERVER_UPDATE": "voice connections",
    "USER_UPDATE": "the bot's own user",
}


def why_always(event: str) -> str:
    """Return what an event that has no rule is about, and so is wanted whoever listens."""
    return _ALWAYS.get(event, "the bot's guilds")
