"""Bots of the discord.py family, drawn by chance: the same on fastgw's gateway as on theirs."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import pytest
from discord_py_bots import KNOWN, LIBRARY, MARKS, Bot, listenable, running
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from library_traffic import LibraryTraffic, serve

from fastgw.testing import FakeGateway

pytestmark = MARKS

# More of them: FASTGW_ATTACH_EXAMPLES=500.
EXAMPLES = int(os.environ.get("FASTGW_ATTACH_EXAMPLES", "6"))
NAMES = listenable() if LIBRARY is not None else ["message"]
INTENTS = sorted(LIBRARY.Intents.VALID_FLAGS) if LIBRARY is not None else ["guilds"]
CACHES = sorted(LIBRARY.MemberCacheFlags.VALID_FLAGS) if LIBRARY is not None else ["joined"]


@dataclass(frozen=True)
class Plan:
    """
    A bot, and what happens to it.

    Attributes:
        intents_off, caches_off: by name.
        listen: to what, from the beginning.
        steps: listeners that come and go between parts of the traffic.
    """

    seed: int
    shards: int | None
    max_messages: int | None
    intents_off: frozenset[str]
    caches_off: frozenset[str]
    listen: frozenset[str]
    steps: tuple[frozenset[str], ...]


def _names(most):
    return st.frozensets(st.sampled_from(NAMES), max_size=most)


PLANS = st.builds(
    Plan,
    seed=st.integers(0, 1 << 16),
    shards=st.sampled_from([None, 1]),
    max_messages=st.sampled_from([None, 30, 1000]),
    intents_off=st.frozensets(st.sampled_from([i for i in INTENTS if i != "guilds"]), max_size=5),
    caches_off=st.frozensets(st.sampled_from(CACHES)) | st.just(frozenset(CACHES)),
    listen=_names(12),
    steps=st.lists(_names(6), min_size=1, max_size=3).map(tuple),
)


def _intents(plan):
    intents = LIBRARY.Intents.all()
    for name in plan.intents_off:
        setattr(intents, name, False)
    return intents


def _caches(plan, intents):
    flags = LIBRARY.MemberCacheFlags.from_intents(intents)
    for name in plan.caches_off:
        setattr(flags, name, False)
    return flags


async def _seen(plan, *, is_attached):
    traffic = LibraryTraffic(plan.seed, guilds=2, of_known=KNOWN)
    intents = _intents(plan)
    async with FakeGateway(guilds=traffic.guilds, max_concurrency=16) as fake:
        bot = Bot(
            fake,
            is_attached=is_attached,
            listen=plan.listen,
            intents=intents,
            member_cache_flags=_caches(plan, intents),
            shards=plan.shards,
            max_messages=plan.max_messages,
        )
        async with running(bot):
            for step in (frozenset(), *plan.steps):
                for name in sorted(step):  # whoever listens ceases to, and the other way round
                    bot.toggle(name)
                await serve(fake, traffic.dispatches(120))
                await bot.settle()
            return bot.heard, bot.caches()


# Not shrunk: an example takes seconds, and a plan is read as it is drawn.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
@given(PLANS)
@pytest.mark.timeout(1800)
def test_any_bot_hears_and_caches_the_same(plan):
    """Drawn intents, caches and listeners, of which some come and go while traffic runs."""
    stock = asyncio.run(_seen(plan, is_attached=False))
    attached = asyncio.run(_seen(plan, is_attached=True))
    assert attached[0] == stock[0]
    assert attached[1] == stock[1]
