"""Attached bots of the discord.py family: many shards and guilds, hooks, proxies, outages."""

from __future__ import annotations

import asyncio
import functools

import orjson
import pytest
from deadline import scaled, until
from discord_py_bots import LIBRARY, MARKS, Bot, running, started
from library_traffic import BOT_ID, LibraryTraffic
from proxies import proxy_server
from quick_time import run_in_quick_time

import fastgw
from fastgw.testing import Dispatch, FakeGateway
from fastgw.testing.service.peer import Moment

pytestmark = MARKS

LARGE_BOT = 700  # guilds
# A machine with both cores busy may stand still for a second, which is minutes in quick time.
PATIENT = fastgw.Timeouts(open_s=3600.0, hello_s=3600.0, ready_s=3600.0, resumed_s=3600.0)


def in_quick_time(speed):
    """Let a coroutine test run in time that is faster."""

    def wrap(test):
        @functools.wraps(test)
        def run(**arguments):
            run_in_quick_time(test(**arguments), speed=speed)

        return run

    return wrap


def _guilds(count):
    """Guilds of three members, of whom GUILD_CREATE brings one, the bot."""
    (guild,) = LibraryTraffic(1, guilds=1).guilds
    whole = orjson.loads(guild.data)
    small = {key: [] if isinstance(value, list) else value for key, value in whole.items()}
    small |= {"members": [whole["members"][-1]], "member_count": 3, "large": True}
    small["members"][0]["roles"] = []
    assert small["members"][0]["user"]["id"] == BOT_ID
    made = []
    for n in range(count):
        guild_id = (n + 1) << 22
        everyone = {**whole["roles"][0], "id": str(guild_id)}
        data = orjson.dumps({**small, "id": str(guild_id), "roles": [everyone]})
        made.append(Dispatch("GUILD_CREATE", data, guild_id))
    return made


def _members(guild):
    (bot,) = orjson.loads(guild.data)["members"]
    return [bot, *({**bot, "user": {**bot["user"], "id": str(n)}} for n in (101, 102))]


def _asked_for(fake):
    """The guilds whose members were asked for."""
    return [int(command.data["guild_id"]) for command in fake.received if command.op == 8]


@in_quick_time(speed=60)
async def test_all_members_of_700_guilds_are_asked_for_within_the_limit():
    """At the start: 120 commands a minute, each answered, then the bot is ready."""
    guilds = _guilds(LARGE_BOT)
    members = {guild.guild_id: _members(guild) for guild in guilds}
    async with FakeGateway(guilds=guilds, members=members, heartbeat_patience=None) as fake:
        options = {"chunk_guilds_at_startup": True, "guild_ready_timeout": 30.0}
        intents = LIBRARY.Intents.all()
        intents.presences = False  # with them small guilds come whole
        bot = Bot(
            fake, is_attached=True, intents=intents, client_options=options, timeouts=PATIENT
        )  # fmt: skip
        async with running(bot):
            assert sorted(_asked_for(fake)) == [guild.guild_id for guild in guilds]
            assert [len(guild.members) for guild in bot.client.guilds] == [3] * LARGE_BOT
            assert len(fake.identifies) == 1  # more commands than are allowed end a connection


@in_quick_time(speed=60)
async def test_700_guilds_that_come_at_once_are_all_heard_of():
    """At run time: the library gives up waiting for members, and no task of its dies."""
    async with FakeGateway(heartbeat_patience=None) as fake:
        options = {"chunk_guilds_at_startup": True}
        intents = LIBRARY.Intents.all()
        intents.presences = False
        bot = Bot(
            fake, is_attached=True, listen=["guild_join", "guild_available"], intents=intents,
            client_options=options, timeouts=PATIENT,
        )  # fmt: skip
        async with running(bot):
            fake.dispatch_many(_guilds(LARGE_BOT))
            await until(lambda: len(bot.heard) == LARGE_BOT, 60)
            assert len(set(bot.heard)) == LARGE_BOT
            assert len(fake.identifies) == 1


@in_quick_time(speed=20)
async def test_an_outage_of_40_seconds_ends_with_resumes():
    """All shards resume, no identify is spent, and what came meanwhile is heard."""
    traffic = LibraryTraffic(3, guilds=4)
    async with FakeGateway(
        guilds=traffic.guilds, max_concurrency=4, heartbeat_patience=None
    ) as fake:
        bot = Bot(
            fake, is_attached=True, listen=["typing", "raw_typing"], shards=4, timeouts=PATIENT,
            backoff_s=(1.0, 60.0), random=lambda: 0.5,
        )  # fmt: skip
        async with running(bot, count=4):
            fake.refuse_upgrade(503, times=None)
            fake.cut()
            await bot.until("disconnect")
            typing = orjson.loads(traffic._traffic.dispatch("TYPING_START").data)
            for guild in traffic.guilds:
                told = {**typing, "guild_id": str(guild.guild_id)}
                fake.dispatch("TYPING_START", told, guild_id=guild.guild_id)
            await asyncio.sleep(40)
            fake.forget_instructions()
            await until(lambda: len(fake.resumes) == 4, 60)
            await bot.settle()
            assert len([line for line in bot.heard if line.startswith("raw_typing")]) == 4
            assert len(fake.identifies) == 4


async def test_sixteen_shards_at_once():
    """With max_concurrency 16 all identify side by side, and events name their shard."""
    traffic = LibraryTraffic(5, guilds=16)
    async with FakeGateway(guilds=traffic.guilds, max_concurrency=16) as fake:
        queue = fastgw.LocalIdentifyQueue()
        bot = Bot(fake, is_attached=True, shards=16, identify_queue=queue)
        async with running(bot, count=16):
            assert sorted(bot.client.shards) == list(range(16))
            assert not any(shard.is_closed() for shard in bot.client.shards.values())
            assert fake.service.identifies_refused == 0
            assert len(fake.identifies) == 16
            assert len(bot.client.guilds) == 16


async def test_the_hook_before_each_identify_is_called_as_on_the_own_gateway():
    """With the shard, and whether it is the first time."""
    calls = {}
    for is_attached in (False, True):
        calls[is_attached] = called = []

        async def before_identify_hook(self, shard_id, *, initial=False, called=called):
            called.append((shard_id, initial))

        async with FakeGateway(max_concurrency=2) as fake:
            members = {"before_identify_hook": before_identify_hook}
            bot = Bot(fake, is_attached=is_attached, shards=2, members=members)
            async with running(bot, count=2):
                fake.invalid_session(resumable=False, shard_id=1)
                await until(lambda fake=fake: len(fake.identifies) == 3, 20)
                await fake.wait_ready(1, timeout_s=scaled(20))
    assert calls[True] == calls[False]


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
async def test_it_connects_through_the_clients_proxy():
    """`proxy=` and `proxy_auth=` of the client hold for the gateway, too."""
    from aiohttp import BasicAuth

    async with FakeGateway() as fake, proxy_server("http", "u ser", "p@ss") as proxy:
        scheme, _, rest = proxy.url.partition("://")
        options = {
            "proxy": f"{scheme}://{rest.rpartition('@')[2]}",
            "proxy_auth": BasicAuth("u ser", "p@ss"),
        }
        bot = Bot(fake, is_attached=True, client_options=options)
        async with running(bot):
            assert proxy.asked == [(fake.host, fake.port)]


MOMENTS = {
    "it connects": lambda fake: fake.ignore_upgrade(times=None),
    "it waits for HELLO": lambda fake: fake.never_hello(times=None),
    "it identifies": lambda fake: fake.instead_of(Moment.IDENTIFY, lambda peer: None, times=None),
    "nothing can be reached": lambda fake: fake.refuse_upgrade(503, times=None),
}
WITH_A_WEBSOCKET = ("it waits for HELLO", "it identifies")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("shards", [None, 2])
async def test_close_while_it_starts(moment, shards):
    """Whatever it waits for, close() ends it, and leaves no connection."""
    async with FakeGateway(max_concurrency=2) as fake:
        MOMENTS[moment](fake)
        bot = Bot(fake, is_attached=True, shards=shards)
        async with started(bot) as task:
            await until(lambda: bot.attachment.gateway and bot.attachment.gateway.shards, 20)
            await until(lambda: fake.connections or moment not in WITH_A_WEBSOCKET, 20)
            await bot.client.close()
            await asyncio.wait_for(asyncio.wait((task,)), scaled(20))
            await until(lambda: not fake.connections)
            assert "closed" in repr(bot.attachment.gateway)


@pytest.mark.parametrize("shards", [None, 2])
async def test_close_while_it_asks_where_to_connect(shards):
    """The answer comes after close(): nothing is connected then."""
    asked, answer = asyncio.Event(), asyncio.Event()
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, shards=shards, info=None)
        async with started(bot) as task:
            usual = bot.client.http.request

            async def request(route, *arguments, **more):
                asked.set()
                await answer.wait()
                return await usual(route, *arguments, **more)

            bot.client.http.request = request
            await asyncio.wait_for(asked.wait(), scaled(20))
            await bot.client.close()
            answer.set()
            await asyncio.wait_for(asyncio.wait((task,)), scaled(20))
            assert not fake.connections
            assert not fake.identifies


async def test_close_while_it_resumes():
    """The connection was lost, another is open and unanswered."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot) as task:
            fake.instead_of(Moment.RESUME, lambda peer: None, times=None)
            fake.cut()
            await until(lambda: fake.resumes, 20)
            await bot.client.close()
            await asyncio.wait_for(asyncio.wait((task,)), scaled(20))
            await until(lambda: not fake.connections)
            assert "closed" in repr(bot.attachment.gateway)
