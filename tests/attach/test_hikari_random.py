"""Random hikari bots, with listeners that come and go under traffic, hear and cache the same."""

from __future__ import annotations

import asyncio

import hikari
import pytest
from hikari_bots import EVENTS, Bot, running
from hypothesis import given, settings
from hypothesis import strategies as st
from library_traffic import LibraryTraffic, serve

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.attach

INTENTS = [intent for intent in hikari.Intents if intent.value & (intent.value - 1) == 0]
COMPONENTS = [
    component
    for component in hikari.api.CacheComponents
    if component.value & (component.value - 1) == 0
]

configurations = st.fixed_dictionaries(
    {
        "intents": st.sets(st.sampled_from(INTENTS)).map(
            lambda chosen: sum(intent.value for intent in {*chosen, hikari.Intents.GUILDS})
        ),
        "caches": st.sets(st.sampled_from(COMPONENTS)).map(
            lambda chosen: sum(component.value for component in chosen)
        ),
        "listen": st.lists(st.sampled_from(EVENTS), unique=True, max_size=8),
    }
)
# For each batch of traffic, the classes that a listener comes or goes for before it.
changes = st.lists(st.lists(st.sampled_from(EVENTS), unique=True, max_size=4), max_size=4)


async def _seen(configuration, changes, seed, *, is_attached):
    traffic = LibraryTraffic(seed, guilds=1)
    listening = set(configuration["listen"])
    async with FakeGateway(guilds=traffic.guilds) as fake:
        bot = Bot.make(fake, is_attached=is_attached, **configuration)
        async with running(bot):
            await bot.settle(fake)
            for change in [[], *changes]:
                for kind in change:
                    if kind in listening:
                        bot.bot.unsubscribe(kind, bot.hear)
                    else:
                        bot.listen([kind])
                    listening ^= {kind}
                await serve(fake, traffic.dispatches(90))
                await bot.settle(fake)
            return bot.heard, bot.caches()


@settings(max_examples=12)
@given(configuration=configurations, changes=changes, seed=st.integers(0, 1_000))
def test_any_bot_hears_and_caches_the_same(configuration, changes, seed):
    """Intents, caches and listeners are drawn; listeners come and go between batches."""

    async def compare():
        stock = await _seen(configuration, changes, seed, is_attached=False)
        attached = await _seen(configuration, changes, seed, is_attached=True)
        assert stock[0] == attached[0]
        assert stock[1] == attached[1]

    asyncio.run(compare())
