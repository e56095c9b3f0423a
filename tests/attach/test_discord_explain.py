"""`explain()` of a bot of the discord.py family, and `fastgw explain` of one that does not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from deadline import scaled
from discord_py_bots import LIBRARY, MARKS, PACKAGE

import fastgw

pytestmark = MARKS

BOT = f"""
import {PACKAGE} as library
import fastgw
from {PACKAGE}.ext import commands

intents = library.Intents.all()
bot = commands.AutoShardedBot("!", intents=intents, max_messages=None, help_command=None,
                              member_cache_flags=library.MemberCacheFlags.none())

def of(number):
    return bot
"""


def explained(folder, *arguments, source=BOT):
    """Run the program on a module of this source; return code, output, errors."""
    (folder / "mine.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fastgw.cli", "explain", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=scaled(60), env=os.environ,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_bot_that_does_not_run_is_explained(tmp_path):
    """A line for each event, and what could go."""
    code, out, errors = explained(tmp_path, "mine:bot")
    assert code == 0, errors
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "dropped" in lines["MESSAGE_CREATE"]
    assert "nobody listens to on_message" in lines["MESSAGE_CREATE"]
    assert "own only" in lines["PRESENCE_UPDATE"]
    assert lines["GUILD_CREATE"].endswith("always: the bot's guilds")
    assert lines["READY"].endswith("always: the session")
    assert lines["INTERACTION_CREATE"].endswith("always: commands, buttons")
    assert max(len(line) for line in lines.values() if "always" in line) < 80
    idle = next(line for line in out.splitlines() if line.startswith("- intents"))
    assert "GUILD_PRESENCES" in idle
    assert "GUILD_MESSAGES" in idle
    assert "GUILDS" not in idle.split(": ")[1].split(", ")


def test_a_bot_that_its_module_attaches_is_explained_as_it_is(tmp_path):
    """With the options of that call; and as JSON."""
    source = BOT + "\nfastgw.attach(bot, keep=['TYPING_START'])\n"
    code, out, errors = explained(tmp_path, "mine:bot", "--json", source=source)
    assert code == 0, errors
    reasons = {reason["event"]: reason for reason in json.loads(out)["reasons"]}
    assert reasons["TYPING_START"]["because"] == ["keep= of attach()"]


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (BOT, "mine:nobody", "there is no 'nobody' in mine"),
        (BOT, "mine:intents", "attach() takes a bot of discord.py"),
        (BOT, "mine:of", "is called without arguments"),
        (BOT + "\nbot.run('a.b.c')\n", "mine:bot", 'put that under `if __name__ == "__main__":`'),
    ],
)
def test_what_is_no_bot_is_said(tmp_path, source, target, said):
    """In one line, with exit code 2; a bot that its module runs is not run."""
    code, _, errors = explained(tmp_path, target, source=source)
    assert (code, said in errors) == (2, True), errors
    assert "Traceback" not in errors


async def test_listeners_are_named_with_their_cog():
    """What `explain()` says of a listener in a cog is where to look for it."""
    commands = __import__(f"{PACKAGE}.ext.commands", fromlist=["commands"])
    bot = commands.Bot("!", intents=LIBRARY.Intents.all(), help_command=None, max_messages=None)
    attachment = fastgw.attach(bot)

    class Levels:
        async def on_message(self, message):
            pass

    bot.add_listener(Levels().on_message)
    (reason,) = (r for r in attachment.explain().reasons if r.event == "MESSAGE_CREATE")
    assert reason.because == ("on_message in cog Levels",)
