"""The life of an attached bot of the discord.py family: shards, ends, changing listeners."""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
import weakref

import pytest
from deadline import scaled, until
from discord_py_bots import LIBRARY, MARKS, PACKAGE, Bot, running
from library_traffic import BOT_ID, LibraryTraffic

import fastgw
from fastgw.testing import FakeGateway

pytestmark = MARKS


def _message(n=0, channel=5):
    return {
        "id": str(10_000 + n), "channel_id": str(channel), "content": "hello", "type": 0,
        "tts": False, "author": {"id": "7", "username": "u", "discriminator": "0", "avatar": None},
        "timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None, "pinned": False,
        "mention_everyone": False, "mentions": [], "mention_roles": [], "attachments": [],
        "embeds": [],
    }  # fmt: skip


def _gateway(bot):
    assert bot.attachment is not None
    assert bot.attachment.gateway is not None
    return bot.attachment.gateway


def _counts(bot, name):
    """How often an event was seen, and how often it was delivered."""
    counts = _gateway(bot).stats().events.get(name)
    return (counts.seen, counts.delivered) if counts else (0, 0)


async def test_parsers_with_a_rule_are_known():
    """The table that is shipped fits the installed library."""
    from fastgw.ext.discord_py.library import Library
    from fastgw.ext.discord_py.parsers import known_parsers, read_parsers
    from fastgw.ext.discord_py.rules import RULES

    client = LIBRARY.Client(intents=LIBRARY.Intents.default())
    known = known_parsers(Library(client).name)
    state = importlib.import_module(f"{PACKAGE}.state")
    for kind in (state.ConnectionState, state.AutoShardedConnectionState):
        for name, parser in read_parsers(kind).items():
            if name in RULES:
                assert parser.fingerprint in known[name], name


async def test_a_dropped_event_is_seen_and_not_delivered():
    """Nobody listens, no cache needs it: it costs a look at its name."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            for n in range(20):
                fake.dispatch("MESSAGE_CREATE", _message(n))
            await bot.settle()
            assert _counts(bot, "MESSAGE_CREATE") == (20, 0)
        reasons = {reason.event: reason for reason in bot.attachment.explain().reasons}
        assert not reasons["MESSAGE_CREATE"].is_delivered
        assert "nobody listens to on_message" in reasons["MESSAGE_CREATE"].because


async def test_listeners_count_before_the_call_that_registers_them_returns():
    """wait_for, add_listener and client.on_x = f; what has gone is dropped again."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            client, attachment = bot.client, bot.attachment

            def is_delivered():
                reasons = {reason.event: reason for reason in attachment.explain().reasons}
                return reasons["MESSAGE_CREATE"].is_delivered

            waiting = asyncio.ensure_future(client.wait_for("message", timeout=scaled(20)))
            await asyncio.sleep(0)
            assert is_delivered()
            fake.dispatch("MESSAGE_CREATE", _message())
            await waiting
            await until(lambda: not is_delivered())

            async def on_message(message):
                heard.append(message.id)

            heard = []
            client.add_listener(on_message, "on_message")
            fake.dispatch("MESSAGE_CREATE", _message(1))
            await until(lambda: heard == [10_001])
            client.remove_listener(on_message, "on_message")
            await until(lambda: not is_delivered())
            client.on_message = on_message
            fake.dispatch("MESSAGE_CREATE", _message(2))
            await until(lambda: heard == [10_001, 10_002])
            assert any(
                "on_message" in reason.because
                for reason in attachment.explain().reasons
                if reason.event == "MESSAGE_CREATE"
            )


async def test_a_listener_counts_that_takes_the_place_of_the_last_one():
    """The library keeps the empty list of a name: filling it again is noticed as well."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            client, heard = bot.client, []

            async def hear(message):
                heard.append(message.id)

            client.add_listener(hear, "on_message")
            client.remove_listener(hear, "on_message")
            waiting = asyncio.ensure_future(client.wait_for("message"))
            await asyncio.sleep(0)
            fake.dispatch("MESSAGE_CREATE", _message())
            await waiting  # nobody is left
            client.add_listener(hear, "on_message")
            fake.dispatch("MESSAGE_CREATE", _message(1))
            await until(lambda: heard == [10_001])


async def test_a_view_follows_its_message():
    """Edits of a message are delivered from the moment on that a view follows it."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            view = LIBRARY.ui.View(timeout=None)
            view.add_item(LIBRARY.ui.Button(label="old", custom_id="one"))
            bot.client.add_view(view, message_id=10_000)
            button = {"type": 2, "style": 1, "label": "new", "custom_id": "one"}
            row = {"type": 1, "components": [button]}
            fake.dispatch("MESSAGE_UPDATE", {**_message(), "guild_id": "9", "components": [row]})
            await until(lambda: view.children[0].label == "new")
            (reason,) = (r for r in bot.attachment.explain().reasons if r.event == "MESSAGE_UPDATE")
            assert "views that follow their message" in reason.because[0]
            view.stop()


async def test_messages_keep_cached_members_up_to_date():
    """A message shows its author's roles and nick: a cache of members would miss it."""
    traffic = LibraryTraffic(3, guilds=1)
    async with FakeGateway(guilds=traffic.guilds) as fake:
        bot = Bot(fake, is_attached=True, max_messages=None)
        async with running(bot):
            (guild,) = bot.client.guilds
            channel = guild.text_channels[0]
            member = next(m for m in guild.members if m != guild.me and len(m._roles) > 0)
            author = {"id": str(member.id), "username": "u", "discriminator": "0", "avatar": None}
            shown = {"roles": [], "nick": "new", "joined_at": "2020-01-01T00:00:00+00:00",
                     "mute": False, "deaf": False, "flags": 0}  # fmt: skip
            message = {**_message(0, channel.id), "guild_id": str(guild.id), "author": author}
            fake.dispatch("MESSAGE_CREATE", {**message, "member": shown}, guild_id=guild.id)
            await until(lambda: member.nick == "new")


async def test_names_of_all_events_are_heard_as_on_the_own_gateway():
    """on_socket_event_type hears of what is dropped, of the own member, and of unknown events."""
    heard = {}
    for is_attached in (False, True):
        async with FakeGateway(guilds=LibraryTraffic(3, guilds=1).guilds) as fake:
            bot = Bot(fake, is_attached=is_attached, listen=["socket_event_type"], is_cached=False)
            async with running(bot):
                (guild,) = bot.client.guilds
                user = {"id": "123", "username": "x", "discriminator": "0", "avatar": None}
                fake.dispatch("MESSAGE_CREATE", _message())
                fake.dispatch(
                    "GUILD_MEMBER_UPDATE",
                    {"guild_id": str(guild.id), "user": user, "nick": None, "roles": [],
                     "joined_at": "2020-01-01T00:00:00+00:00", "flags": 0},
                    guild_id=guild.id,
                )  # fmt: skip
                fake.dispatch("SOMETHING_NEW", {})
                await bot.settle()
                heard[is_attached] = bot.heard
    assert "socket_event_type 'SOMETHING_NEW'" in heard[True]
    assert heard[True] == heard[False]


async def test_an_overridden_dispatch_sees_every_event_at_once():
    """As extensions do that count events: nothing is dropped from then on."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            names, own = [], bot.client.dispatch

            def dispatch(name, *arguments):
                names.append(name)
                own(name, *arguments)

            bot.client.dispatch = dispatch
            fake.dispatch("MESSAGE_CREATE", _message())
            await bot.settle()
            assert "socket_event_type" in names
            assert _counts(bot, "MESSAGE_CREATE") == (1, 1)


async def test_the_own_member_is_kept_with_caches_off():
    """Its roles are the bot's permissions: of members and presences only its own come."""
    traffic = LibraryTraffic(3, guilds=1)
    async with FakeGateway(guilds=traffic.guilds) as fake:
        bot = Bot(fake, is_attached=True, is_cached=False)
        async with running(bot):
            (guild,) = bot.client.guilds
            for user, nick in (("123", "somebody"), (BOT_ID, "myself")):
                user = {"id": user, "username": "x", "discriminator": "0", "avatar": None}
                fake.dispatch(
                    "GUILD_MEMBER_UPDATE",
                    {"guild_id": str(guild.id), "user": user, "nick": nick, "roles": [],
                     "joined_at": "2020-01-01T00:00:00+00:00", "flags": 0},
                    guild_id=guild.id,
                )  # fmt: skip
            await until(lambda: guild.me.nick == "myself")
            assert _counts(bot, "GUILD_MEMBER_UPDATE") == (2, 1)


@pytest.mark.parametrize("shards", [None, 2])
async def test_a_lost_connection_resumes_and_nothing_is_lost(shards):
    """The bot hears of the disconnect and of the resume as on its own gateway."""
    async with FakeGateway(max_concurrency=2) as fake:
        bot = Bot(fake, is_attached=True, listen=["message"], shards=shards)
        async with running(bot, count=shards or 1):
            fake.cut(shard_id=0)
            fake.dispatch("MESSAGE_CREATE", _message())
            await bot.until("resumed")
            assert "disconnect" in bot.life
            assert ("shard_disconnect 0" in bot.life) == (shards is not None)
            await until(lambda: len(bot.heard) == 1)  # of no guild: shard 0 has it
            assert len(fake.identifies) == (shards or 1)


async def test_latency_is_finite_before_the_first_periodic_beat():
    """One heartbeat goes at READY and at RESUMED, so `round(bot.latency * 1000)` can be said."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, random=lambda: 0.99)  # the periodic one is due in 40 s
        async with running(bot):
            await until(lambda: math.isfinite(bot.client.latency))
            fake.cut()
            await bot.until("resumed")
            await until(lambda: math.isfinite(bot.client.latency))


@pytest.mark.parametrize("shards", [None, 1])
async def test_a_lost_connection_is_resumed_also_with_reconnect_false(shards):
    """The library never learns that it was lost; a refusal still ends the bot."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True, shards=shards)
        async with running(bot, reconnect=False) as task:
            fake.cut()
            await bot.until("resumed")
            assert not task.done()
            fake.close(4004)
            with pytest.raises(LIBRARY.ConnectionClosed):
                await asyncio.wait_for(task, scaled(10))


async def test_a_refused_token_and_refused_intents_are_the_librarys_own_errors():
    """4004 and 4014 end the bot with what its programmers know."""
    errors = importlib.import_module(f"{PACKAGE}.errors")
    for code, kind in ((4004, errors.ConnectionClosed), (4014, errors.PrivilegedIntentsRequired)):
        async with FakeGateway() as fake:
            bot = Bot(fake, is_attached=True)
            async with running(bot) as task:
                fake.close(code)
                with pytest.raises(kind):
                    await asyncio.wait_for(task, scaled(20))


async def test_a_shard_is_stopped_and_started_at_run_time():
    """ShardInfo.disconnect(), connect() and reconnect()."""
    async with FakeGateway(max_concurrency=2) as fake:
        bot = Bot(fake, is_attached=True, shards=2)
        async with running(bot, count=2):
            shard = bot.client.get_shard(1)
            await shard.disconnect()
            assert shard.is_closed()
            assert [s.id for s in _gateway(bot).shards if s.status.value == "ready"] == [0]
            await shard.connect()
            await until(lambda: len(fake.identifies) == 3)
            assert not shard.is_closed()


async def test_presences_voice_and_limits():
    """The library's own methods make the commands."""
    async with FakeGateway(guilds=LibraryTraffic(3, guilds=1).guilds) as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot):
            await bot.client.change_presence(status=LIBRARY.Status.idle)
            command = await fake.wait_command(3)
            assert command.data["status"] == "idle"
            (guild,) = bot.client.guilds
            await guild.change_voice_state(channel=None)
            await fake.wait_command(4)
            assert bot.client.is_ws_ratelimited() is False


async def test_close_ends_everything():
    """The session ends, and no connection is left."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot) as task:
            await bot.client.close()
            await asyncio.wait_for(asyncio.wait((task,)), scaled(20))
            await until(lambda: not fake.connections)
        assert _gateway(bot).shards == () or all(
            shard.status is fastgw.State.STOPPED for shard in _gateway(bot).shards
        )


@pytest.mark.parametrize(
    ("resumable", "identifies", "call"), [(True, 1, "resumed"), (False, 2, "ready")]
)
async def test_an_invalid_session_resumes_or_begins_another(resumable, identifies, call):
    """Op 9: the bot hears what it would hear on its own gateway."""
    heard = {}
    for is_attached in (False, True):
        async with FakeGateway() as fake:
            bot = Bot(fake, is_attached=is_attached)
            async with running(bot):
                bot.life.clear()
                fake.invalid_session(resumable=resumable)
                await bot.until(call)
                heard[is_attached] = sorted(bot.life)
                if is_attached:
                    assert len(fake.identifies) == identifies
    assert heard[True] == heard[False]


async def test_the_service_may_ask_for_another_connection():
    """Op 7: it resumes."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot):
            fake.reconnect()
            await bot.until("resumed")
            assert (len(fake.identifies), len(fake.resumes)) == (1, 1)


async def test_close_works_before_ready_and_in_an_outage():
    """Also while nothing can be reached; nothing is left then."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot) as task:
            fake.refuse_upgrade(503, times=None)
            fake.cut()
            await bot.until("disconnect")
            await bot.client.close()
            await asyncio.wait_for(asyncio.wait((task,)), scaled(20))
            assert bot.client.is_closed()


async def test_what_cannot_work_is_refused():
    """With what to do."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        with pytest.raises(fastgw.UsageError, match="attached already"):
            fastgw.attach(bot.client)
        async with running(bot):
            with pytest.raises(fastgw.UsageError, match="runs"):
                bot.attachment.detach()
        bot.attachment.detach()
        stock = Bot(fake, is_attached=False)
        with pytest.raises(fastgw.UsageError, match="the bot itself says its token"):
            fastgw.attach(stock.client, token="x")
        with pytest.raises(fastgw.UsageError, match="guild cache would stay empty"):
            fastgw.attach(stock.client, store=fastgw.MemorySessionStore())
        async with running(stock):
            with pytest.raises(fastgw.UsageError, match="runs already"):
                fastgw.attach(stock.client)
        assert not fake.connections


async def test_a_library_without_a_default_gateway_fits(monkeypatch):
    """disnake, nextcord and py-cord have none, and need none."""
    gateway = importlib.import_module(f"{PACKAGE}.gateway")
    monkeypatch.delattr(gateway.DiscordWebSocket, "DEFAULT_GATEWAY", raising=False)
    client = LIBRARY.Client(intents=LIBRARY.Intents.none())
    assert fastgw.attach(client).explain().reasons


async def test_a_client_that_nobody_holds_is_freed():
    """What is attached lives as long as the client, and no longer."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        gone = weakref.ref(bot.client)
        del bot
        gc.collect()
        assert gone() is None


def _why(client, event="MESSAGE_CREATE"):
    attachment = fastgw.attach(client)
    reasons = {reason.event: reason for reason in attachment.explain().reasons}
    return reasons[event]


def _commands_bot(kind=None, **members):
    commands = importlib.import_module(f"{PACKAGE}.ext.commands")
    kind = type("Router", (kind or commands.Bot,), members)
    return kind(
        "!", help_command=None, max_messages=None, intents=LIBRARY.Intents.all(),
        member_cache_flags=LIBRARY.MemberCacheFlags.none(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["process_commands", "on_command_error"])
async def test_messages_are_delivered_to_who_looks_at_them_as_commands(name):
    """Also where there is no command: the bot hears of each message."""

    async def method(self, *arguments):
        pass

    assert not _why(_commands_bot()).is_delivered
    why = _why(_commands_bot(**{name: method}))
    assert why.is_delivered
    assert name in why.because[0]


@pytest.mark.parametrize(
    "options", [{"compres": 1}, {"compress": "bogus"}, {"proxy": "ftp://u:pw@h"}]
)
async def test_options_that_cannot_be_are_refused_at_once(options):
    """Later the library would take it for a lost connection, and try again for ever."""
    with pytest.raises((TypeError, fastgw.UsageError)):
        fastgw.attach(_commands_bot(), **options)


async def test_attached_again_it_hears_of_listeners_at_once():
    """The client's dicts tell who is attached now."""
    client = _commands_bot()
    client.loop = asyncio.get_running_loop()
    fastgw.attach(client).detach()
    attachment = fastgw.attach(client)
    waiting = asyncio.ensure_future(client.wait_for("message"))
    await asyncio.sleep(0)
    reasons = {reason.event: reason for reason in attachment.explain().reasons}
    assert reasons["MESSAGE_CREATE"].is_delivered
    assert client._listeners.fastgw_changed.__self__ is vars(client)["_fastgw_listeners"]
    waiting.cancel()


async def test_the_gateway_of_the_last_shard_is_closed_before_another_is_made():
    """Nothing of it stays behind when the bot is closed."""
    async with FakeGateway() as fake:
        bot = Bot(fake, is_attached=True)
        async with running(bot):
            first = _gateway(bot)
            shard = bot.client.get_shard(0)
            await shard.disconnect()
            await shard.connect()
            assert _gateway(bot) is not first
            assert "closed" in repr(first)
