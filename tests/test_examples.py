"""The examples run: each bot against a fake gateway, with a REST API on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from deadline import scaled, until

from fastgw.testing import FakeGateway, Traffic

EXAMPLES = Path(__file__).parents[1] / "examples"
# Each of these has a test here or in tests/attach, or is run as a test itself.
KNOWN = {
    "archive", "discord_py_bot", "echo", "hikari_bot", "member_sync", "models", "ping", "prefix",
    "slash", "test_prefix", "voice_log",
}  # fmt: skip
TEXT = {"author": {"id": "2", "username": "ann"}, "id": "1", "channel_id": "7"}


def load(name):
    """Import an example afresh, as `python examples/NAME.py` would."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where msgspec looks up what annotations name
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options(fake):
    """What lets a bot connect to the fake gateway."""
    return {"token": "test-token", "info": fake.info}


@pytest.fixture
async def rest(rest_calls):
    """An HTTP client; it is made after DISCORD_API was set."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        yield session


PROGRAM = """
import functools, runpy, sys
import fastgw
made = fastgw.Gateway
fastgw.Gateway = functools.partial(made, api_url=sys.argv[1])
runpy.run_path(sys.argv[2], run_name="__main__")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("name", ["echo", "prefix", "slash", "quickstart"])
@pytest.mark.one_loop
@pytest.mark.usefixtures("rest_calls")
async def test_a_bot_with_a_loop_of_its_own_ends_quietly_at_ctrl_c(fake, tmp_path, name):
    """As whoever tries one ends it: sessions are closed, and there is no traceback."""
    path = EXAMPLES / f"{name}.py"
    if name == "quickstart":
        path = tmp_path / "bot.py"
        page = (EXAMPLES.parent / "docs" / "quickstart.md").read_text("utf-8")
        path.write_text(page.split("```python\n")[1].split("```")[0])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, fake.api_url, str(path),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"DISCORD_TOKEN": "not.a.token"},
        # As a terminal starts it: a shell has what it runs in the background ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        await until(lambda: fake.service.sessions or process.returncode is not None, 30.0)
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), scaled(30.0))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, said.decode()) == (0, "")
    assert not fake.service.sessions


async def take(queue):
    return await asyncio.wait_for(queue.get(), scaled(10.0))


def test_each_example_is_run():
    """One that is new gets a test."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == KNOWN


async def test_ping(options, fake, rest_calls):
    """A private REST client answers "!ping"; anything else is left alone."""
    module = load("ping")
    options = {name: value for name, value in options.items() if name != "token"}  # of the module
    async with module.make_bot(**options):
        for content in ("hello", "!ping"):
            fake.dispatch("MESSAGE_CREATE", {**TEXT, "content": content})
        assert await take(rest_calls) == ("/channels/7/messages", {"content": "pong"})
    await module.rest.aclose()
    assert rest_calls.empty()


async def test_echo(fake, options, rest, rest_calls):
    """What people say comes back, what bots say does not."""
    async with load("echo").make_bot(rest, **options):
        bot = {"author": {"bot": True}, "content": "from a bot"}
        fake.dispatch("MESSAGE_CREATE", {**TEXT, **bot})
        fake.dispatch("MESSAGE_CREATE", {**TEXT, "content": "hello"})
        assert await take(rest_calls) == ("/channels/7/messages", {"content": "hello"})
    assert rest_calls.empty()


async def test_slash(fake, options, rest, rest_calls):
    """Commands are registered once, and answered at the interaction's callback."""
    module = load("slash")
    async with module.make_bot(rest, **options):
        path, body = await take(rest_calls)
        assert path.startswith("/applications/")
        assert path.endswith("/commands")
        assert body == module.COMMANDS
        interaction = {"id": "5", "token": "abc", "type": 2}
        said = {"name": "say", "options": [{"type": 3, "name": "text", "value": "hi"}]}
        fake.dispatch("INTERACTION_CREATE", {**interaction, "type": 3, "data": {}})
        fake.dispatch("INTERACTION_CREATE", {**interaction, "data": said})
        path, body = await take(rest_calls)
        assert path == "/interactions/5/abc/callback"
        assert body == {"type": 4, "data": {"content": "hi"}}
        fake.dispatch("INTERACTION_CREATE", {**interaction, "data": {"name": "uptime"}})
        _, body = await take(rest_calls)
        assert body["data"]["flags"] == 64
    assert rest_calls.empty()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="hikari 2.7 is for Python 3.11 and newer")
async def test_hikari_bot(fake, rest_calls):
    """A slash command is answered over REST, and the rest is dropped."""
    token = "ODAzNTExMTAyMjQ2Nzg5MTI.AAAAAA.fake"
    bot, attachment = load("hikari_bot").make_bot(token, fake.api_url)
    await bot.start(check_for_updates=False)
    try:
        interaction = orjson.loads(Traffic(1).dispatch("INTERACTION_CREATE").data)
        bot.rest._rest_url = os.environ["DISCORD_API"]  # the fake answers what a start asks
        fake.dispatch("INTERACTION_CREATE", interaction)
        path, body = await take(rest_calls)
        assert "/callback" in path
        assert body["data"]["content"].startswith("pong, ")
        idle = {reason.event for reason in attachment.explain().reasons if not reason.is_delivered}
        assert {"TYPING_START", "MESSAGE_CREATE", "PRESENCE_UPDATE"} <= idle
    finally:
        await bot.close()


async def test_prefix(fake, options):
    """Only commands are answered; nothing is made of all else."""
    said = asyncio.Queue()

    async def say(channel_id, content):
        said.put_nowait((channel_id, content))

    async with load("prefix").make_bot(say, **options) as bot:
        for content in ("hello", "!nothing", "!ping", "!roll 2d1"):
            fake.dispatch("MESSAGE_CREATE", {**TEXT, "content": content})
        assert await take(said) == ("7", "pong")
        assert await take(said) == ("7", "1 + 1 = 2")
        assert bot.stats().events["MESSAGE_CREATE"].filtered == 1


async def test_voice_log(fake, options, capsys):
    """Who came, moved and left; a muted microphone is none of it."""
    printed = ""
    async with load("voice_log").make_bot(**options):
        sits = {"guild_id": "1", "user_id": "2", "channel_id": "3"}
        fake.dispatch("GUILD_CREATE", {"id": "1", "voice_states": [{**sits, "user_id": "9"}]})
        for user_id, channel_id in (("9", "3"), ("2", "3"), ("2", "4"), ("2", "4"), ("9", None)):
            moved = {**sits, "user_id": user_id, "channel_id": channel_id}
            fake.dispatch("VOICE_STATE_UPDATE", moved)

        def is_done():
            nonlocal printed
            printed += capsys.readouterr().out
            return "left" in printed

        await until(is_done)
    assert printed.splitlines() == ["2 joined 3", "2 moved from 3 to 4", "9 left 3"]


async def test_archive(fake, options, tmp_path):
    """Every event as it came, one a line."""
    path = tmp_path / "events.jsonl"
    with path.open("wb") as file:
        async with load("archive").make_bot(file, **options) as bot:
            fake.dispatch("SOMETHING_NEW", {"a": [1, {"b": "\n"}]})
            await until(lambda: bot.shards[0].stats().delivered == 2)
    ready, new = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert ready["t"] == "READY"
    assert new == {"t": "SOMETHING_NEW", "s": 2, "shard": 0, "d": {"a": [1, {"b": "\n"}]}}


async def test_member_sync():
    """All members of a guild, then who came, is called otherwise and left."""
    guild_id = 41771983423143937
    members = [{"user": {"id": str(n), "username": f"user {n}"}} for n in range(5)]
    database = sqlite3.connect(":memory:")

    def names():
        return [name for (name,) in database.execute("SELECT name FROM members ORDER BY user_id")]

    async with (
        FakeGateway(members={guild_id: members}, members_per_chunk=2) as fake,
        load("member_sync").make_bot(database, token="test-token", info=fake.info),
    ):
        fake.dispatch("GUILD_CREATE", {"id": "1", "unavailable": True})
        fake.dispatch("GUILD_CREATE", {"id": str(guild_id)})
        await until(lambda: len(names()) == 5)
        for name, user in (
            ("GUILD_MEMBER_UPDATE", {"id": "0", "username": "zero"}),
            ("GUILD_MEMBER_REMOVE", {"id": "1"}),
            ("GUILD_MEMBER_ADD", {"id": "5", "username": "five"}),
        ):
            fake.dispatch(name, {"guild_id": str(guild_id), "user": user})
        await until(lambda: "five" in names())
    assert names() == ["zero", "user 2", "user 3", "user 4", "five"]
    database.close()


async def test_models(fake, options, capsys):
    """Objects of the bot's own types; what does not fit is told with its path."""
    printed = ""
    sent = {**TEXT, "content": "hi", "timestamp": "2026-01-01T10:20:00+00:00"}
    async with load("models").make_bot(**options):
        fake.dispatch("MESSAGE_CREATE", sent)
        edit = {**sent, "edited_timestamp": "2026-01-01T10:21:00+00:00"}
        fake.dispatch("MESSAGE_UPDATE", edit)
        fake.dispatch("MESSAGE_CREATE", {**sent, "author": {"id": "2"}})

        def is_done():
            nonlocal printed
            printed += capsys.readouterr().out
            return printed.count("\n") == 3

        await until(is_done)
    first, second, third = printed.splitlines()
    assert first == "10:20 ann: hi"
    assert second == "10:21 ann edited"
    assert third.startswith("MESSAGE_CREATE: data of MESSAGE_CREATE (sequence 4) is no Message at ")


def test_the_tests_of_an_example_pass():
    """As their docstring says to run them, in a pytest of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider",
         "test_prefix.py"],
        cwd=EXAMPLES, capture_output=True, text=True, timeout=scaled(60.0),
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout
