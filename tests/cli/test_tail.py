"""`fastgw tail` against a fake gateway: what it shows, what it costs, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os

import pytest
from command import BOT_ID, TOKEN, fastgw, finished, next_line, started
from deadline import scaled, until

from fastgw import Gateway, Intents
from fastgw.cli._tap import tapped
from fastgw.cli.tail import parse_filter
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.one_loop  # the command runs in a process of its own


def message(content, **members):
    return {"channel_id": "7", "content": content, "author": {"id": "3", "bot": False}, **members}


async def tail(fake, tmp_path, *arguments, send=()):
    """Run it against the fake, send what is given once it is there, and return how it ended."""
    state = {"XDG_STATE_HOME": str(tmp_path)}
    async with started("tail", "--api-url", fake.api_url, *arguments, **state) as process:
        if send:
            await fake.wait_ready(timeout_s=scaled(20))
        for name, data in send:
            fake.dispatch(name, data)
        return await finished(process)


async def test_events_are_lines_that_nothing_cuts_in_a_pipe(tmp_path):
    """Name, size and the members that tell events apart, whole; nothing that moves the cursor."""
    async with FakeGateway(token=TOKEN, recommended_shards=1) as fake:
        send = [("MESSAGE_CREATE", message("\x1b[31mred " + "\u65e5" * 200))]
        done = await tail(fake, tmp_path, "MESSAGE_*", "--count", "1", send=send)
        await until(lambda: not fake.service.sessions)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert " MESSAGE_CREATE " in line
    assert "channel_id=7" in line
    assert "\x1b" not in line
    assert line.endswith("red " + "\u65e5" * 200)
    assert TOKEN not in done.stdout + done.stderr


async def test_a_terminal_of_80_columns_gets_lines_that_fit(tmp_path):
    """A line that wraps is two lines, and what comes from East Asia takes two columns each."""
    ours, theirs = os.openpty()
    state = {"XDG_STATE_HOME": str(tmp_path), "COLUMNS": "80"}
    async with FakeGateway(recommended_shards=1) as fake:
        arguments = ("--api-url", fake.api_url, "MESSAGE_*", "--count", "1")
        async with started("tail", *arguments, stdout=theirs, **state) as process:
            os.close(theirs)
            await fake.wait_ready(timeout_s=scaled(20))
            fake.dispatch("MESSAGE_CREATE", message("\u65e5" * 200))
            line = await asyncio.to_thread(os.read, ours, 4096)
            assert (await finished(process)).returncode == 0
    os.close(ours)
    shown = line.decode().rstrip("\r\n")
    assert "channel_id=7" in shown
    assert sum(2 if character == "\u65e5" else 1 for character in shown) in (78, 79)


async def test_it_says_that_it_costs_an_identify_and_takes_its_turn(tmp_path):
    """In the file of `fastgw run` at that API, whose next start knows of it."""
    async with FakeGateway(recommended_shards=4) as fake:
        done = await tail(fake, tmp_path, "--shard", "2", "--count", "1")
        assert [identify["shard"] for identify in fake.identifies] == [[2, 4]]
        assert fake.identifies[0]["intents"] == Intents.default()
    file = tmp_path / "fastgw" / "127.0.0.1" / BOT_ID / "fastgw.sqlite"
    assert done.stderr == (
        f"fastgw: shard 2 of 4 costs one identify of the 1,000 that are left, by turn in {file}\n"
    )
    assert file.exists()


async def test_json_and_raw_hold_what_came(tmp_path):
    """One line each; `--raw` is the data byte by byte."""
    raw = b'{"content":"\\u00fc", "channel_id":"7"}'
    async with FakeGateway() as fake:
        names = ("MESSAGE_CREATE", "--count", "1")
        as_json = await tail(fake, tmp_path, *names, "--json", send=[("MESSAGE_CREATE", raw)])
        as_raw = await tail(fake, tmp_path, *names, "--raw", send=[("MESSAGE_CREATE", raw)])
    told = json.loads(as_json.stdout)
    assert (told["name"], told["shard_id"], told["sequence"]) == ("MESSAGE_CREATE", 0, 2)
    assert told["data"] == json.loads(raw)
    assert as_raw.stdout.encode() == raw + b"\n"


async def test_only_what_passes_all_tests_is_shown(tmp_path):
    """Name patterns and tests of members."""
    send = [
        ("TYPING_START", {"channel_id": "7", "user_id": "3"}),
        ("MESSAGE_CREATE", message("!no", author={"id": "3", "bot": True})),
        ("MESSAGE_CREATE", message("no")),
        ("MESSAGE_CREATE", message("!yes")),
    ]
    tests = ("--where", "author.bot!=true", "--where", "content^=!", "--where", "author.id=3")
    async with FakeGateway() as fake:
        names = ("MESSAGE_*", "--count", "1", "--raw")
        done = await tail(fake, tmp_path, *names, *tests, send=send)
    assert json.loads(done.stdout)["content"] == "!yes"


async def test_ctrl_c_ends_the_session(tmp_path):
    """Exit code 130, no traceback, and Discord is told."""
    async with FakeGateway() as fake:
        state = {"XDG_STATE_HOME": str(tmp_path)}
        async with started("tail", "--api-url", fake.api_url, **state) as process:
            assert " READY " in await next_line(process.stdout)
            done = await finished(process, interrupt=True)
        assert (done.returncode, done.stdout) == (130, "")
        assert len(done.stderr.splitlines()) == 1
        await until(lambda: not fake.service.sessions)


@pytest.mark.parametrize(
    ("allowed", "arguments", "says"),
    [
        (Intents.all(), ["--shard", "9"], "--shard 9 is none of the bot's, which are 0 to 0"),
        (Intents.default(), ["--intents", "all"], "4014"),
        (Intents.all(), ["PRESENCE_UPDATE"], "needs the intent GUILD_PRESENCES"),
    ],
    ids=["no such shard", "refused", "no intent"],
)
async def test_what_cannot_be_is_told(tmp_path, allowed, arguments, says):
    """One clear line at the end, and not twice; exit code 2."""
    async with FakeGateway(allowed_intents=allowed) as fake:
        state = {"XDG_STATE_HOME": str(tmp_path)}
        done = await fastgw("tail", "--api-url", fake.api_url, *arguments, **state)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert done.stderr.count(says) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MESAGE_CREATE", "'MESAGE_CREATE' matches no event that Discord documents; did you mean "
         "MESSAGE_CREATE"),
        ("on_message", "'on_message' matches no event that Discord documents; did you mean "
         "'MESSAGE_*'"),
        ("GULD_*", "'GULD_*' matches no event that Discord documents; did you mean 'GUILD_*'"),
        ("quark", "'quark' matches no event that Discord documents\n"),
    ],
)  # fmt: skip
async def test_a_name_that_is_none_costs_nothing(tmp_path, name, says):
    """It is told at once, with what it may be a slip of: nobody is asked, and no turn is taken."""
    async with FakeGateway() as fake:
        done = await fastgw("tail", "--api-url", fake.api_url, name, XDG_STATE_HOME=str(tmp_path))
        assert (fake.api_requests, fake.identifies) == (0, [])
    assert done.returncode == 2
    assert done.stderr.startswith(f"fastgw: {says}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "=7", "!a=1", "a>7", "a<=7", "a~b", "a b", "a[0]=1"])
def test_a_test_that_is_none_is_refused(text):
    """Such as one with an operator that there is not, which no member's name holds; argparse shows
    what can be written."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"write author\.id=7, author\.bot!=true"):
        parse_filter(text)


def test_a_path_that_is_none_is_refused():
    """As `field()` refuses it."""
    with pytest.raises(argparse.ArgumentTypeError, match="path"):
        parse_filter("a..b=1")


async def test_a_spent_budget_is_left_alone(tmp_path):
    """At the reserve it waits for no identify of the bot's: it says so and ends."""
    async with FakeGateway(identifies_total=1_000) as fake:
        fake.service.identifies_left = 50
        state = {"XDG_STATE_HOME": str(tmp_path)}
        async with started("tail", "--api-url", fake.api_url, **state) as process:
            told = b""
            while b"identifies are left" not in told:
                told += await asyncio.wait_for(process.stderr.readline(), scaled(20))
            done = await finished(process, interrupt=True)
        assert (done.returncode, fake.identifies) == (130, [])


async def test_what_is_said_once_is_said_by_others_again_afterwards(fake):
    """The command keeps the gateway's last word to itself; a program that goes on hears it."""
    log = logging.getLogger("fastgw.gateway")
    gateway = Gateway("any-token", intents=Intents.none(), info=fake.info)
    async with tapped(gateway):
        assert not log.filter(log.makeRecord(log.name, logging.CRITICAL, "", 0, "", (), None))
    assert log.filter(log.makeRecord(log.name, logging.CRITICAL, "", 0, "", (), None))
