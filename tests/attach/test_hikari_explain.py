"""What `explain()` tells of a hikari bot."""

from __future__ import annotations

import hikari
import pytest
from deadline import until
from hikari.api import CacheComponents
from hikari.impl.config import CacheSettings
from library_traffic import TOKEN

import fastgw
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.attach


def make_bot(components=CacheComponents.NONE, **options):
    """Return a hikari bot that says nothing at its start."""
    return hikari.GatewayBot(
        TOKEN,
        banner=None,
        logs=None,
        suppress_optimization_warning=True,
        auto_chunk_members=False,
        cache_settings=CacheSettings(components=components),
        intents=hikari.Intents.ALL,
        **options,
    )


async def on_typing(event):
    """Hear somebody type."""


async def test_it_says_why_each_event_comes_and_how_often():
    """Listeners and caches by name, figures of what came, and what could go."""
    async with FakeGateway() as fake:
        bot = make_bot(CacheComponents.ROLES, rest_url=fake.api_url)
        bot.subscribe(hikari.GuildTypingEvent, on_typing)
        attachment = fastgw.attach(bot)
        await bot.start(check_for_updates=False)
        try:
            fake.dispatch("INVITE_DELETE", {"guild_id": "1", "channel_id": "2", "code": "x"})
            await until(lambda: attachment.gateway.stats().events.get("INVITE_DELETE"))
        finally:
            await bot.close()
        explanation = attachment.explain()  # also when the bot has ended
    reasons = {reason.event: reason for reason in explanation.reasons}
    assert reasons["TYPING_START"].because == ("GuildTypingEvent in on_typing",)
    assert reasons["GUILD_ROLE_CREATE"].because == ("cache ROLES",)
    dropped = reasons["INVITE_DELETE"]
    assert (dropped.is_delivered, dropped.seen, dropped.delivered) == (False, 1, 0)
    intents, cache = explanation.advice
    assert "GUILD_INVITES" in intents
    assert "TYPING" not in intents
    assert cache.startswith("delivered for the cache ROLES alone: ")
    assert "GUILD_ROLE_CREATE" in cache


async def test_handlers_of_fastgws_own_stand_beside_the_librarys():
    """The gateway is there before the start, and takes handlers."""
    async with FakeGateway() as fake:
        bot = make_bot(rest_url=fake.api_url)
        attachment = fastgw.attach(bot)
        names = []
        attachment.gateway.on("INVITE_DELETE")(lambda event: names.append(event.name))
        await bot.start(check_for_updates=False)
        try:
            fake.dispatch("INVITE_DELETE", {"guild_id": "1", "channel_id": "2", "code": "x"})
            await until(lambda: names == ["INVITE_DELETE"])
        finally:
            await bot.close()


def test_a_bot_of_a_framework_stays_of_its_class():
    """Subclasses are attached as well, and are what they were when they are detached."""

    class Framework(hikari.GatewayBot):
        pass

    bot = Framework(TOKEN, banner=None, logs=None, suppress_optimization_warning=True)
    attachment = fastgw.attach(bot)
    assert isinstance(bot, Framework)
    attachment.detach()
    assert type(bot) is Framework


async def test_explained_before_it_runs_it_makes_no_gateway():
    """The bot's start still says what its gateway is like."""
    async with FakeGateway() as fake:
        bot = make_bot(rest_url=fake.api_url)
        attachment = fastgw.attach(bot)
        assert attachment.explain().reasons
        await bot.start(check_for_updates=False, large_threshold=100)
        await bot.close()
        assert fake.identifies[0]["large_threshold"] == 100
