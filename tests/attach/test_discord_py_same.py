"""A bot of the discord.py family hears and caches the same on fastgw's gateway as on its own."""

from __future__ import annotations

import difflib

import pytest
from discord_py_bots import KNOWN, MARKS, Bot, listenable, running
from library_traffic import LibraryTraffic, serve

from fastgw.testing import FakeGateway

pytestmark = MARKS

FEW = ("interaction", "guild_join", "guild_remove")
CONFIGURATIONS = {
    "all listeners, default caches": {"listen": None},
    "all listeners, no caches": {"listen": None, "is_cached": False},
    "few listeners, no caches": {"listen": FEW, "is_cached": False},
    "few listeners, default caches": {"listen": FEW},
    "no listeners, no messages": {"max_messages": None},
    "not sharded": {"listen": None, "shards": None},
}


async def _seen(configuration, *, is_attached, count=400, seed=7):
    traffic = LibraryTraffic(seed, guilds=2, of_known=KNOWN)
    options = dict(configuration)
    if "listen" in options and options["listen"] is None:
        options["listen"] = listenable()
    async with FakeGateway(guilds=traffic.guilds, max_concurrency=16) as fake:
        bot = Bot(fake, is_attached=is_attached, **options)
        async with running(bot):
            await serve(fake, traffic.dispatches(count))
            await bot.settle()
            return bot.heard, bot.caches()


def _assert_same(stock, attached):
    difference = difflib.unified_diff(stock[0], attached[0], "stock", "attached", n=1)
    assert stock[0] == attached[0], "\n".join(line[:300] for line in difference)
    for key, held in stock[1].items():
        assert held == attached[1].get(key)
    assert stock[1].keys() == attached[1].keys()


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
async def test_the_same_calls_in_the_same_order_and_the_same_caches(configuration):
    """In each configuration of the study, over every event that the library has a parser for."""
    stock = await _seen(configuration, is_attached=False)
    attached = await _seen(configuration, is_attached=True)
    _assert_same(stock, attached)


async def test_a_bot_of_all_listeners_hears_nearly_every_kind():
    """What is compared holds what there is: a test of the test."""
    heard, caches = await _seen({"listen": None}, is_attached=True)
    assert len({line.partition(" ")[0] for line in heard}) > 50
    assert len(caches) > 1
