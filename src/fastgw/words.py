"""
The words that errors carry and every floor speaks: what comes next, who began, which intents.

They stand on the ground beside `errors`, so that nothing has to climb for a word.
"""

from __future__ import annotations

from enum import Enum, IntFlag

__all__ = ["Action", "Initiator", "Intents"]


class Action(Enum):
    """What a session needs after a connection ended."""

    RESUME = "resume"
    IDENTIFY = "identify"
    STOP = "stop"


class Initiator(Enum):
    """Who began to close a connection."""

    SERVICE = "service"
    CLIENT = "client"
    TRANSPORT = "transport"  # nobody: TCP, TLS or the network


class Intents(IntFlag):
    """
    Groups of events a session subscribes to (Discord docs, "List of intents").

    Bits missing here (17-19, 22, 23, ...) are not open to bots; asking for them closes with 4013.
    """

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1  # privileged
    GUILD_MODERATION = 1 << 2
    GUILD_EXPRESSIONS = 1 << 3
    GUILD_INTEGRATIONS = 1 << 4
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8  # privileged
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15  # privileged; gates no event, fills content fields
    GUILD_SCHEDULED_EVENTS = 1 << 16
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21
    GUILD_MESSAGE_POLLS = 1 << 24
    DIRECT_MESSAGE_POLLS = 1 << 25

    @classmethod
    def none(cls) -> Intents:
        """Return no intent at all: interactions and other ungated events still arrive."""
        return cls(0)

    @classmethod
    def all(cls) -> Intents:
        """Return every documented intent, the privileged ones included."""
        return cls(sum(cls.__members__.values()))

    @classmethod
    def privileged(cls) -> Intents:
        """Return the intents that must be enabled for the application in the developer portal."""
        return cls.GUILD_MEMBERS | cls.GUILD_PRESENCES | cls.MESSAGE_CONTENT

    @classmethod
    def default(cls) -> Intents:
        """Return every intent that needs no permission of Discord: all but the privileged."""
        return cls.all() & ~cls.privileged()

    def names(self) -> list[str]:
        """Return the names of the bits set, lowest first; undefined bits as their number."""
        known = [name for name, bit in Intents.__members__.items() if self & bit]
        rest = int(self) & ~int(Intents.all())
        return known + [f"1<<{bit}" for bit in range(rest.bit_length()) if rest >> bit & 1]
