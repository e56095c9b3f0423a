"""Dispatch names, intents, and which opens which."""

from __future__ import annotations

from fastgw.protocol.events import EVENT_INTENTS, EVENT_NAMES, LIBRARY_EVENTS, PRIVILEGED
from fastgw.words import Intents


def test_intent_masks():
    """The masks Discord's docs give for all bits and for the unprivileged ones."""
    assert int(Intents.all()) == 53_608_447
    assert int(Intents.default()) == 53_575_421
    assert Intents.default() | PRIVILEGED == Intents.all()
    assert Intents.none() == 0


def test_intent_names():
    """Names of the bits set, undefined bits as numbers."""
    assert (Intents.GUILDS | Intents.GUILD_MEMBERS).names() == ["GUILDS", "GUILD_MEMBERS"]
    assert Intents((1 << 18) | 1).names() == ["GUILDS", "1<<18"]
    assert Intents.none().names() == []


def test_event_names():
    """79 documented names, ours among them, and every gate opens documented ones."""
    assert len(EVENT_NAMES) == 79
    assert LIBRARY_EVENTS <= EVENT_NAMES
    assert set(EVENT_INTENTS) <= EVENT_NAMES


def test_ungated_events():
    """What no intent gates, as the docs list it."""
    assert EVENT_NAMES - set(EVENT_INTENTS) == {
        "READY", "RESUMED", "RATE_LIMITED", "INTERACTION_CREATE", "VOICE_SERVER_UPDATE",
        "USER_UPDATE", "APPLICATION_COMMAND_PERMISSIONS_UPDATE", "GUILD_MEMBERS_CHUNK",
        "SOUNDBOARD_SOUNDS", "CHANNEL_INFO",
        *(f"{kind}_{what}" for kind in ("ENTITLEMENT", "SUBSCRIPTION")
          for what in ("CREATE", "UPDATE", "DELETE")),
    }  # fmt: skip


def test_some_events_have_several_gates():
    """Guild and direct messages are gated apart; any of the intents opens the name."""
    assert EVENT_INTENTS["MESSAGE_CREATE"] == Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES
    assert EVENT_INTENTS["THREAD_MEMBERS_UPDATE"] == Intents.GUILDS | Intents.GUILD_MEMBERS
    every = Intents.none()
    for gates in EVENT_INTENTS.values():
        every |= gates
    assert every == Intents.all() & ~Intents.MESSAGE_CONTENT  # which gates fields, not events
