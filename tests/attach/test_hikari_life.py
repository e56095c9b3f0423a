"""An attached hikari bot: from its start to its end, and what happens in between."""

from __future__ import annotations

import asyncio
import math
import ssl

import hikari
import orjson
import pytest
from deadline import scaled, until
from hikari.api import CacheComponents
from hikari_bots import Bot, running
from library_traffic import BOT_ID, TOKEN, LibraryTraffic

import fastgw
from fastgw.errors import UsageError
from fastgw.testing import FakeGateway, Traffic
from fastgw.testing.service.peer import Moment

pytestmark = pytest.mark.attach


def typing(guild_id=1):
    """Return what a TYPING_START says, as the service writes it."""
    data = orjson.loads(Traffic(1, guilds=1).dispatch("TYPING_START").data)
    return {**data, "guild_id": str(guild_id)}


async def test_events_of_its_life_are_hikaris():
    """Starting, connected, started, disconnected, stopped: each once, in hikari's order."""
    lives = {}
    for is_attached in (False, True):
        async with FakeGateway() as fake:
            bot = Bot.make(fake, is_attached=is_attached, listen=(), caches=0)
            async with running(bot):
                await until(lambda bot=bot: "ShardConnectedEvent" in bot.life)
            lives[is_attached] = bot.life
    assert lives[True] == lives[False]


async def test_it_tells_when_the_connection_is_lost_and_resumed():
    """A cut: disconnected, resumed, connected; nothing of the traffic is lost."""
    traffic = LibraryTraffic(3, guilds=1)
    async with FakeGateway(guilds=traffic.guilds) as fake:
        bot = Bot.make(fake, is_attached=True, caches=0, listen=[hikari.GuildTypingEvent])
        bot.bot.subscribe(hikari.ShardResumedEvent, bot.live)
        async with running(bot):
            bot.life.clear()
            fake.cut()
            fake.service.dispatch("TYPING_START", typing())
            await until(lambda: len(fake.resumes) == 1 and len(bot.heard) == 1)
            await until(lambda: len(bot.life) == 3)
            assert bot.life == [
                "ShardDisconnectedEvent",
                "ShardResumedEvent",
                "ShardConnectedEvent",
            ]
            assert len(fake.identifies) == 1


@pytest.mark.parametrize("resumable", [True, False])
async def test_op_9(resumable):
    """An invalid session is resumed, or replaced by a new one; the bot goes on."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, caches=0, listen=[hikari.ShardReadyEvent])
        async with running(bot):
            fake.invalid_session(resumable=resumable)
            await until(lambda: len(bot.life) > 4 and bot.bot.shards[0].is_connected)
            assert len(fake.identifies) == (1 if resumable else 2)
            assert len(bot.heard) == len(fake.identifies)


async def test_op_7_resumes():
    """Discord asks to reconnect: the session goes on."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, caches=0, listen=())
        async with running(bot):
            fake.reconnect()
            await until(lambda: len(fake.resumes) == 1 and bot.bot.shards[0].is_connected)


@pytest.mark.parametrize("close_code", [4004, 4014])
async def test_a_refusal_is_hikaris_own_exception(close_code):
    """4004 and 4014 at the start: as on hikari's gateway, with the code."""
    async with FakeGateway() as fake:
        fake.instead_of(Moment.IDENTIFY, lambda peer: peer.close(close_code, "no"), times=None)
        bot = Bot.make(fake, is_attached=True, listen=())
        with pytest.raises(hikari.GatewayServerClosedConnectionError) as caught:
            async with running(bot):
                pass
        assert caught.value.code == close_code
        assert not caught.value.can_reconnect


async def test_a_refusal_while_it_runs_ends_join():
    """4014 at a later identify ends `bot.join()`, and so `bot.run()`, with the exception."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=())
        async with running(bot):
            fake.close(4014)
            with pytest.raises(hikari.GatewayServerClosedConnectionError, match="4014"):
                await asyncio.wait_for(bot.bot.join(), scaled(10))
            told = []
            loop = asyncio.get_running_loop()
            usual = loop.get_exception_handler()
            loop.set_exception_handler(lambda loop, context: told.append(context["message"]))
            await bot.bot.close()
            loop.set_exception_handler(usual)
            assert told == ["shard 0 raised an exception during shut down"]  # as hikari's does


async def test_close_ends_the_session_and_leaves_nothing():
    """After close() no connection, no session and no shard is left, and it can start again."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=())
        for run in (1, 2):
            async with running(bot):
                assert bot.bot.shards[0].is_alive
            await fake.wait_for(lambda: not fake.connections and not fake.service.sessions)
            assert not bot.bot.shards
            assert len(fake.identifies) == run


@pytest.mark.parametrize("moment", [Moment.OPENED, Moment.IDENTIFY])
async def test_close_while_it_starts(moment):
    """Closed before HELLO or READY came: nothing is left."""
    async with FakeGateway() as fake:
        reached = asyncio.Event()
        fake.instead_of(moment, lambda peer: reached.set())
        bot = Bot.make(fake, is_attached=True, listen=())
        start = asyncio.ensure_future(bot.bot.start(check_for_updates=False))
        await asyncio.wait_for(reached.wait(), scaled(10))
        await bot.bot.close()
        await asyncio.wait_for(asyncio.wait([start]), scaled(10))
        start.exception()
        await fake.wait_for(lambda: not fake.connections)


async def test_close_while_the_gateway_is_away():
    """Closed during an outage, between two attempts."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=())
        async with running(bot):
            fake.refuse_upgrade(503, times=None)
            fake.cut()
            await until(lambda: not bot.bot.shards[0].is_connected)
        assert not bot.bot.is_alive


# --- interests -----------------------------------------------------------------------------------


async def test_a_dropped_event_costs_nothing():
    """It is seen and not delivered, and nothing is parsed."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        async with running(bot):
            for _ in range(5):
                fake.dispatch("TYPING_START", typing())
            await bot.settle(fake)
            counts = bot.attachment.gateway.stats().events["TYPING_START"]
            assert (counts.seen, counts.delivered) == (5, 0)


async def test_listeners_come_and_go_while_it_runs():
    """subscribe, wait_for and streams take effect at once; without them the event is dropped."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        async with running(bot):
            wanted = bot.wanted
            assert "TYPING_START" not in wanted()
            bot.bot.subscribe(hikari.GuildTypingEvent, bot.hear)
            fake.dispatch("TYPING_START", typing())
            await until(lambda: len(bot.heard) == 1)
            bot.bot.unsubscribe(hikari.GuildTypingEvent, bot.hear)
            assert "TYPING_START" not in wanted()
            waiting = asyncio.ensure_future(bot.bot.wait_for(hikari.GuildTypingEvent, scaled(10)))
            await asyncio.sleep(0)
            assert "TYPING_START" in wanted()
            fake.dispatch("TYPING_START", typing(7))
            assert (await waiting).guild_id == 7
            assert "TYPING_START" not in wanted()


async def test_waiting_in_a_loop_misses_nothing():
    """Between two `wait_for` of one coroutine nothing is dropped that hikari would give it."""
    counts = {}
    for is_attached in (False, True):
        async with FakeGateway() as fake:
            bot = Bot.make(fake, is_attached=is_attached, listen=(), caches=0)
            async with running(bot):
                got = []

                async def collect(bot=bot, got=got):
                    while len(got) < 5:
                        event = await bot.bot.wait_for(hikari.GuildTypingEvent, scaled(10))
                        got.append(event.guild_id)

                task = asyncio.ensure_future(collect())
                for number in range(1, 6):
                    await asyncio.sleep(0)
                    fake.dispatch("TYPING_START", typing(number))
                    await until(lambda got=got, number=number: len(got) == number)
                await task
                counts[is_attached] = got
    assert counts[True] == counts[False] == [1, 2, 3, 4, 5]


async def test_payload_events_want_everything():
    """A listener of ShardPayloadEvent gets what nobody else wants, also names unknown to hikari."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        names = []

        async def hear(event):
            names.append(event.name)

        async with running(bot):
            bot.bot.subscribe(hikari.ShardPayloadEvent, hear)
            fake.dispatch("TYPING_START", typing())
            fake.dispatch("NEVER_HEARD_OF", {"a": 1})
            await until(lambda: names == ["TYPING_START", "NEVER_HEARD_OF"])
            bot.bot.unsubscribe(hikari.ShardPayloadEvent, hear)
            assert "TYPING_START" not in bot.wanted()


async def test_events_of_the_bots_own_member():
    """With the cache of members its own is kept up to date, with no listener."""
    traffic = LibraryTraffic(4, guilds=1)
    guild_id = traffic.guilds[0].guild_id
    async with FakeGateway(guilds=traffic.guilds) as fake:
        caches = int(CacheComponents.GUILDS | CacheComponents.MEMBERS)
        bot = Bot.make(fake, is_attached=True, listen=(), caches=caches)
        async with running(bot):
            await bot.settle(fake)
            member = bot.bot.cache.get_member(guild_id, int(BOT_ID))
            update = {"guild_id": str(guild_id), "user": {"id": BOT_ID, "username": "fake",
                      "discriminator": "0", "avatar": None, "bot": True}, "roles": [],
                      "nick": "renamed", "joined_at": "2024-01-01T00:00:00+00:00",
                      "avatar": None, "flags": 0}  # fmt: skip
            fake.dispatch("GUILD_MEMBER_UPDATE", update)
            await bot.settle(fake)
            changed = bot.bot.cache.get_member(guild_id, int(BOT_ID))
            assert (member.nickname, changed.nickname) == (None, "renamed")


# --- commands ------------------------------------------------------------------------------------


async def test_commands_are_hikaris():
    """Presence, voice state and members reach the service as they do from hikari's gateway."""
    sent = {}
    for is_attached in (False, True):
        async with FakeGateway() as fake:
            bot = Bot.make(fake, is_attached=is_attached, listen=(), caches=0)
            activity = hikari.Activity(name="chess")
            async with running(bot, activity=activity, status=hikari.Status.IDLE):
                await bot.bot.update_presence(status=hikari.Status.DO_NOT_DISTURB, afk=True)
                await bot.bot.update_voice_state(1, 2, self_mute=True)
                await bot.bot.request_guild_members(1, query="a", limit=3, nonce="n")
                await fake.wait_command(8)
                await fake.wait_command(3)
                identify = fake.identifies[0]
                others = sorted((c.op, str(c.data)) for c in fake.received if c.op in (3, 4, 8))
                keys = ("intents", "presence", "shard", "large_threshold")
                sent[is_attached] = [identify[key] for key in keys], others
    assert sent[True] == sent[False]


async def test_the_large_threshold_of_the_start_is_what_it_identifies_with():
    """It is said to `bot.run()`, when the bot was attached long before."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        for asked in (100, 60):
            async with running(bot, large_threshold=asked):
                assert fake.identifies[-1]["large_threshold"] == asked


async def test_the_presence_survives_a_lost_session():
    """A new session identifies with what was shown last."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        async with running(bot):
            await bot.bot.update_presence(status=hikari.Status.DO_NOT_DISTURB)
            fake.invalid_session(resumable=False)
            await until(lambda: len(fake.identifies) == 2)
            assert fake.identifies[1]["presence"]["status"] == "dnd"


async def test_commands_without_a_connection_are_refused_as_hikari_does():
    """Nothing waits for a connection that is not there."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        async with running(bot):
            fake.refuse_upgrade(503, times=None)
            fake.cut()
            await until(lambda: not bot.bot.shards[0].is_connected)
            with pytest.raises(hikari.ComponentStateConflictError):
                await bot.bot.shards[0].update_voice_state(1, 2)


async def test_latency_is_that_of_the_last_heartbeat():
    """nan before the first ACK, as in hikari; then seconds."""
    async with FakeGateway(heartbeat_interval_ms=200) as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0)
        async with running(bot):
            await until(lambda: not math.isnan(bot.bot.heartbeat_latency))
            assert 0 <= bot.bot.shards[0].heartbeat_latency < scaled(5)


async def test_latency_is_known_before_the_first_periodic_beat():
    """One heartbeat goes as soon as the shard is up, also where the next is due in 40 s."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=True, listen=(), caches=0, options={"random": late})
        async with running(bot):
            await until(lambda: not math.isnan(bot.bot.heartbeat_latency))


def late():
    """Give nearly all the chance there is: the first periodic beat after a whole interval."""
    return 0.99


# --- many shards, many processes -----------------------------------------------------------------


async def test_sixteen_shards_at_once():
    """With max_concurrency 16 all are ready together, and events name their shard."""
    traffic = LibraryTraffic(5, guilds=16)
    async with FakeGateway(guilds=traffic.guilds, max_concurrency=16) as fake:
        bot = Bot.make(fake, is_attached=True, listen=[hikari.GuildAvailableEvent], caches=0)
        async with running(bot, shard_count=16):
            assert sorted(bot.bot.shards) == list(range(16))
            assert all(shard.is_connected for shard in bot.bot.shards.values())
            await until(lambda: len(bot.heard) == 16)


async def test_a_restart_under_traffic_resumes_from_the_store(tmp_path):
    """With a durable store and no caches the next bot resumes; nothing is lost or comes twice."""
    traffic = Traffic(6, guilds=1, mix={"MESSAGE_CREATE": 1})
    sent, heard = [], []

    async def hear(event):
        heard.append(str(event.message_id))

    async with FakeGateway() as fake:
        for _ in range(3):
            store = fastgw.SQLiteSessionStore(tmp_path / "sessions")
            bot = Bot.make(fake, is_attached=True, listen=(), caches=0, options={"store": store})
            bot.bot.subscribe(hikari.MessageCreateEvent, hear)
            async with running(bot):
                assert bot.bot.shards[0].get_user_id() == int(BOT_ID)
                dispatches = traffic.dispatches(60)
                fake.dispatch_many(dispatches[:30])  # while it runs
                await bot.settle(fake)
                fake.dispatch_many(dispatches[30:])  # while it closes
            sent += [orjson.loads(dispatch.data)["id"] for dispatch in dispatches]
        bot = Bot.make(
            fake, is_attached=True, listen=(), caches=0,
            options={"store": fastgw.SQLiteSessionStore(tmp_path / "sessions")},
        )  # fmt: skip
        bot.bot.subscribe(hikari.MessageCreateEvent, hear)
        async with running(bot):
            await bot.settle(fake)
        assert heard == sent
        assert (len(fake.identifies), len(fake.resumes)) == (1, 3)


# --- attaching -----------------------------------------------------------------------------------


def plain_bot(**options):
    """Return a bot on its own gateway."""
    return hikari.GatewayBot(
        TOKEN, banner=None, logs=None, suppress_optimization_warning=True, **options
    )


def test_a_store_needs_a_bot_without_caches(tmp_path):
    """With caches a resumed session would leave them empty: refused, with what to do."""
    store = fastgw.SQLiteSessionStore(tmp_path / "sessions")
    with pytest.raises(UsageError, match=r"CacheComponents\.NONE"):
        fastgw.attach(plain_bot(), store=store)


def test_it_is_attached_once_and_can_leave():
    """A second attach is refused; after detach() the classes are the bot's own."""
    bot = plain_bot()
    attachment = fastgw.attach(bot)
    assert isinstance(bot, hikari.GatewayBot)
    with pytest.raises(UsageError, match="attached already"):
        fastgw.attach(bot)
    attachment.detach()
    assert type(bot) is hikari.GatewayBot
    fastgw.attach(bot)


async def test_a_running_bot_is_refused():
    """Nothing can be put under a bot that runs."""
    async with FakeGateway() as fake:
        bot = Bot.make(fake, is_attached=False, listen=())
        async with running(bot):
            with pytest.raises(UsageError, match="runs already"):
                fastgw.attach(bot.bot)


def test_a_missing_seam_is_named(monkeypatch):
    """Another version of hikari may lack what is needed: nothing is changed, and it is said."""
    monkeypatch.delattr(hikari.impl.shard.GatewayShardImpl, "_keep_alive")
    bot = plain_bot()
    with pytest.raises(UsageError, match=rf"{hikari.__version__} has no GatewayShardImpl\._keep"):
        fastgw.attach(bot)
    assert type(bot) is hikari.GatewayBot


def test_settings_that_verify_nothing_are_refused():
    """By their name in hikari, and with a way out that verifies for the gateway alone."""
    bot = plain_bot(http_settings=hikari.impl.HTTPSettings(ssl=False))
    with pytest.raises(UsageError, match=r"HTTPSettings\(ssl=False\)"):
        fastgw.attach(bot)
    assert fastgw.attach(bot, ssl_context=ssl.create_default_context()).explain()


def test_prefixes_are_the_discord_familys():
    """hikari has no prefix commands: said, and nothing is changed."""
    bot = plain_bot()
    with pytest.raises(UsageError, match="hikari has none"):
        fastgw.attach(bot, prefix_filter="!")
    assert type(bot) is hikari.GatewayBot


def test_keep_and_drop():
    """Names may be wanted, or not, whatever listens."""
    bot = plain_bot(cache_settings=hikari.impl.CacheSettings(components=CacheComponents.NONE))
    attachment = fastgw.attach(bot, keep={"TYPING_START"}, drop={"INVITE_CREATE"})
    bot.subscribe(hikari.InviteCreateEvent, plain_listener)
    assert reasons_of(attachment)["TYPING_START"] == (True, ("keep= of attach()",))
    assert reasons_of(attachment)["INVITE_CREATE"] == (False, ("drop= of attach()",))
    attachment.detach()
    attachment.detach()  # once more does nothing
    all_of_them = reasons_of(fastgw.attach(bot, filter=False)).values()
    assert set(all_of_them) == {(True, ("filter=False of attach()",))}


def reasons_of(attachment):
    """Return event -> whether it is delivered, and why."""
    reasons = attachment.explain().reasons
    return {reason.event: (reason.is_delivered, reason.because) for reason in reasons}


async def plain_listener(event):
    """Hear, and do nothing."""


def test_reasons_name_listeners_and_caches():
    """Why an event is delivered, in words."""
    bot = plain_bot(cache_settings=hikari.impl.CacheSettings(components=CacheComponents.ROLES))
    attachment = fastgw.attach(bot)
    bot.subscribe(hikari.GuildTypingEvent, plain_listener)
    reasons = reasons_of(attachment)
    assert reasons["TYPING_START"] == (True, ("GuildTypingEvent in plain_listener",))
    assert reasons["GUILD_ROLE_CREATE"] == (True, ("cache ROLES",))
    assert not reasons["MESSAGE_CREATE"][0]
