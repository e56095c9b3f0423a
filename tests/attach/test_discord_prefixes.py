"""`prefix_filter=`: messages that are no command of a bot stay outside of Python."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager

import pytest
from deadline import until
from discord_py_bots import LIBRARY, MARKS, PACKAGE, Bot, running
from library_traffic import BOT_ID

import fastgw
from fastgw.testing import FakeGateway

pytestmark = MARKS


def make_bot(prefix="!", *, members=None, max_messages=None):
    """Return a bot that does not run, with one prefix command."""
    commands = importlib.import_module(f"{PACKAGE}.ext.commands")
    kind = type("Mine", (commands.Bot,), members or {})
    bot = kind(prefix, help_command=None, intents=LIBRARY.Intents.all(), max_messages=max_messages)
    add_command(bot)
    return bot


def add_command(bot):
    """Let a bot write down what it is told."""
    bot.told = []

    @bot.command()
    async def say(context, *, text):
        bot.told.append(text)


def message(number, content):
    """Return the data of a message in a channel of two people."""
    author = {"id": "5", "username": "a", "discriminator": "0", "avatar": None}
    return {
        "id": str(number), "channel_id": "9", "type": 0, "content": content, "author": author,
        "attachments": [], "embeds": [], "mentions": [], "mention_roles": [], "tts": False,
        "mention_everyone": False, "pinned": False, "edited_timestamp": None,
        "timestamp": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


class Chat:
    """A bot under test, and what is said to it."""

    def __init__(self, fake, bot, attachment):
        self.fake = fake
        self.bot = bot
        self.attachment = attachment
        self.said = 0

    def say(self, content):
        """Let somebody write this."""
        self.said += 1
        self.fake.dispatch("MESSAGE_CREATE", message(self.said, content))

    async def heard(self, *texts):
        """Wait until the command was told this, and all that was said has come."""
        await until(lambda: self.counts() is not None and self.counts().seen == self.said, 20)
        await until(lambda: self.bot.told == list(texts), 20)

    def counts(self):
        """Return what was counted of messages."""
        return self.attachment.gateway.stats().events.get("MESSAGE_CREATE")

    def why(self):
        """Return why messages come."""
        return reason_of(self.attachment)


def reason_of(attachment):
    """Return what is said of MESSAGE_CREATE."""
    (reason,) = (r for r in attachment.explain().reasons if r.event == "MESSAGE_CREATE")
    return reason


@pytest.mark.parametrize(
    ("prefix", "asked", "begins"),
    [
        ("!", True, "!"),
        (["?", "hey "], True, "hey "),
        ("mention", True, f"<@{BOT_ID}> "),
        ("mention or !", True, "!"),
        ("mention or !", True, f"<@!{BOT_ID}> "),
        ("function", ["$", "%"], "%"),
    ],
)
async def test_a_command_runs_and_other_messages_stay_outside(prefix, asked, begins):
    """They are seen and counted, and no parser of the library is called for them."""
    async with FakeGateway() as fake, chatting(fake, prefix_of(prefix), asked) as chat:
        parsed = []
        parse = chat.bot._connection.parsers["MESSAGE_CREATE"]
        chat.bot._connection.parsers["MESSAGE_CREATE"] = spy(parse, parsed)
        for number in range(20):
            chat.say(f"no command, but {begins}say {number}")
        chat.say(f'{begins}say "yes"')
        await chat.heard('"yes"')
        assert [data["content"] for data in parsed] == [f'{begins}say "yes"']
        counts = chat.counts()
        assert (counts.seen, counts.delivered, counts.filtered) == (21, 1, 20)


def spy(function, calls):
    """Return a parser of the same method that writes down what it is given."""

    class Spy:
        __func__ = function.__func__  # not replaced, as far as anybody can see

        def __call__(self, data):
            calls.append(data)
            return function(data)

    return Spy()


def prefix_of(name):
    """Return a prefix as bots have them."""
    commands = importlib.import_module(f"{PACKAGE}.ext.commands")
    return {
        "mention": commands.when_mentioned,
        "mention or !": commands.when_mentioned_or("!"),
        "function": lambda bot, message: "%",
    }.get(name, name) if isinstance(name, str) else name  # fmt: skip


@asynccontextmanager
async def chatting(fake, prefix="!", asked=True, **options):
    """Run a bot on our gateway with a filter of prefixes."""
    bot = Bot(
        fake,
        is_attached=True,
        shards=None,
        max_messages=None,
        prefix=prefix,
        prefix_filter=asked,
        **options,
    )
    add_command(bot.client)
    async with running(bot):
        yield Chat(fake, bot.client, bot.attachment)


async def test_who_waits_for_any_message_gets_it():
    """While `wait_for` or a listener needs messages, all are delivered; then commands again."""
    async with FakeGateway() as fake, chatting(fake) as chat:
        assert chat.why().commands_only
        assert chat.why().because == ("prefix commands (1)", "prefixes: '!'")
        waiting = asyncio.ensure_future(chat.bot.wait_for("message"))
        await asyncio.sleep(0)
        assert chat.why().is_delivered
        assert chat.why().because[0] == "prefix commands (1)"
        chat.say("anything")
        assert (await waiting).content == "anything"
        chat.say("nobody waits")
        chat.say("!say again")
        await chat.heard("again")
        assert chat.counts().delivered == 2


async def test_without_an_intent_of_messages_the_bot_starts():
    """Nothing is asked for, nor warned of: which intents a bot lacks is for its library to say."""
    async with FakeGateway() as fake, chatting(fake, intents=LIBRARY.Intents(guilds=True)) as chat:
        assert chat.why().commands_only
        assert chat.bot.is_ready()


async def test_another_prefix_counts_at_once():
    """`bot.command_prefix = ...`; a function means that every message is delivered again."""
    async with FakeGateway() as fake, chatting(fake) as chat:
        chat.bot.command_prefix = "?"
        chat.say("!say old")
        chat.say("?say new")
        await chat.heard("new")
        assert chat.counts().filtered == 1
        chat.bot.command_prefix = lambda bot, message: "$"
        assert chat.why().is_delivered
        chat.say("$say any")
        await chat.heard("new", "any")


async def on_message(_message):
    """Look at every message."""


async def own_prefix(_bot, _message):
    """Find the prefix in some way."""
    return "!"


@pytest.mark.parametrize(
    ("prefix", "options", "asked", "said"),
    [
        (own_prefix, {}, True, "command_prefix is a function, own_prefix; name all"),
        ("!", {"members": {"get_prefix": own_prefix}}, True, r"get_prefix\(\) is overridden"),
        ("!", {"members": {"on_message": on_message}}, True, "every message: on_message;"),
        ("!", {"members": {"invoke": on_message}}, True, r"invoke\(\) is overridden"),
        ("!", {"max_messages": 100}, True, "every message: max_messages=100"),
        ("", {}, True, "empty prefix"),
        (["!", "?"], {}, "!", "leaves out '[?]'"),
        ("!", {}, [], "is True, or the prefixes"),
        ("!", {}, 5, "is True, or the prefixes"),
    ],
)
async def test_what_cannot_be_filtered_is_refused(prefix, options, asked, said):
    """With what needs every message, and what to do about it."""
    bot = make_bot(prefix, **options)
    with pytest.raises(fastgw.UsageError, match=said):
        fastgw.attach(bot, prefix_filter=asked)
    assert fastgw.attach(bot).explain()  # nothing was changed


async def test_a_listener_of_messages_is_named():
    """The refusal says in which cog it is."""
    bot = make_bot()

    class Levels:
        async def on_message(self, message):
            pass

    bot.add_listener(Levels().on_message)
    with pytest.raises(fastgw.UsageError, match="on_message in cog Levels"):
        fastgw.attach(bot, prefix_filter=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": ["MESSAGE_CREATE"]}, "keep= of attach"),
        ({"drop": ["MESSAGE_CREATE"]}, "drop= of attach"),
        ({"filter": False}, "filter=False of attach"),
    ],
)
async def test_it_contradicts_what_is_said_of_messages(options, said):
    """Either the prefixes decide, or the other option does."""
    with pytest.raises(fastgw.UsageError, match=f"prefix_filter.*{said}"):
        fastgw.attach(make_bot(), prefix_filter=True, **options)


async def test_a_client_without_commands_is_refused():
    """It has no prefix."""
    client = LIBRARY.Client(intents=LIBRARY.Intents.none())
    with pytest.raises(fastgw.UsageError, match="no command_prefix"):
        fastgw.attach(client, prefix_filter=True)


async def test_without_a_command_no_message_comes():
    """A filter makes nobody need messages."""
    bot = make_bot()
    bot.remove_command("say")
    reason = reason_of(fastgw.attach(bot, prefix_filter=True))
    assert (reason.is_delivered, reason.commands_only) == (False, False)
    assert reason.because == ("prefix_filter= of attach(), and no prefix command",)


async def test_the_advice_names_it_where_it_would_do():
    """A bot with prefix commands and nothing beside is told; one that has the filter is not."""
    attachment = fastgw.attach(make_bot())
    assert "attach(prefix_filter=True)" in str(attachment.explain())
    attachment.detach()
    filtered = str(fastgw.attach(attachment._link.bot, prefix_filter=True).explain())
    assert "attach(prefix_filter=True)" not in filtered
    assert "MESSAGE_CREATE" in filtered
    assert "prefix commands (1); prefixes: '!'" in filtered
    assert "prefix_filter" not in str(fastgw.attach(make_bot(max_messages=10)).explain())
