"""A hikari bot hears and caches the same on fastgw's gateway as on its own."""

from __future__ import annotations

import difflib

import hikari
import pytest
from hikari.api import CacheComponents
from hikari_bots import EVENTS, Bot, running
from library_traffic import LibraryTraffic, serve

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.attach

FEW = (hikari.InteractionCreateEvent, hikari.GuildJoinEvent, hikari.GuildLeaveEvent)
CONFIGURATIONS = {
    "all listeners, default caches": {},
    "all listeners, no caches": {"caches": 0},
    "few listeners, no caches": {"listen": FEW, "caches": 0},
    "few listeners, default caches": {"listen": FEW},
    "no listeners, members cached": {"listen": (), "caches": int(CacheComponents.MEMBERS)},
    "without presences and members": {"intents": int(hikari.Intents.ALL_UNPRIVILEGED)},
}


async def _seen(configuration, *, is_attached, count=400, shards=1, seed=7):
    traffic = LibraryTraffic(seed, guilds=2 * shards)
    async with FakeGateway(guilds=traffic.guilds, max_concurrency=shards) as fake:
        bot = Bot.make(fake, is_attached=is_attached, **configuration)
        async with running(bot, shard_count=shards):
            await bot.settle(fake)
            await serve(fake, traffic.dispatches(count))
            await bot.settle(fake)
            return bot.heard, bot.caches()


def _assert_same(stock, attached):
    difference = difflib.unified_diff(stock[0], attached[0], "stock", "attached", n=1)
    assert stock[0] == attached[0], "\n".join(line[:300] for line in difference)
    assert stock[1] == attached[1]


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
async def test_the_same_events_in_the_same_order_and_the_same_caches(configuration):
    """In each configuration of the study, over every event that hikari has a consumer for."""
    stock = await _seen(configuration, is_attached=False)
    attached = await _seen(configuration, is_attached=True)
    _assert_same(stock, attached)


async def test_a_bot_of_all_listeners_hears_nearly_every_kind():
    """What is compared holds what there is: a test of the test."""
    heard, caches = await _seen({}, is_attached=True)
    kinds = {line.partition(" ")[0] for line in heard}
    assert len(kinds) > 60
    assert {"get_guilds_view", "get_messages_view"} <= {
        name for name, held in caches.items() if held
    }
    assert len(EVENTS) > 80
