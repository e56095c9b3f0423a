"""`fastgw fake`: it says where it is, a bot that goes there gets events, and Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
import socket

import pytest
from command import fastgw, finished, next_line, started
from deadline import until
from ports import keep_port, port_of

from fastgw import (
    AuthenticationFailed,
    DisallowedIntents,
    Gateway,
    Intents,
    InvalidIntents,
    InvalidShard,
    ShardingRequired,
)

pytestmark = pytest.mark.one_loop  # the command runs in a process of its own


async def test_a_bot_gets_guilds_and_events():
    """By the API URL that it prints; the profile says which events come."""
    arguments = ("--profile", "interactions", "--guilds", "3", "--rate", "500", "--shards", "2")
    async with started("fake", "--json", *arguments) as fake:
        api_url = json.loads(await next_line(fake.stdout))["api_url"]
        seen = []
        gateway = Gateway("any-token", intents=Intents.all(), api_url=api_url)
        gateway.on("*")(lambda event: seen.append(event.name))
        async with gateway:
            assert len(gateway.shards) == 2
            await until(lambda: seen.count("GUILD_CREATE") == 3 and "INTERACTION_CREATE" in seen)
        done = await finished(fake, interrupt=True)
    assert (done.returncode, done.stderr) == (130, "")
    assert set(seen) == {"READY", "GUILD_CREATE", "INTERACTION_CREATE"}


async def test_messages_alone():
    """For a bot without slash commands, whose library would warn of each that it does not know."""
    arguments = ("--profile", "messages", "--guilds", "3", "--rate", "2000")
    async with started("fake", "--json", *arguments) as fake:
        api_url = json.loads(await next_line(fake.stdout))["api_url"]
        seen = []
        gateway = Gateway("any-token", intents=Intents.all(), api_url=api_url)
        gateway.on("*")(lambda event: seen.append(event.name))
        async with gateway:
            await until(lambda: {"MESSAGE_CREATE", "MESSAGE_REACTION_ADD"} <= {*seen})
    assert all(name.startswith("MESSAGE_") for name in {*seen} - {"READY", "GUILD_CREATE"})


async def test_it_says_how_to_point_a_bot_at_it():
    """On lines that fit 80 columns; the port is the one that was asked for."""
    with keep_port() as kept:
        port = port_of(kept)
        async with started("fake", "--profile", "quiet", "--port", port) as fake:
            lines = [await next_line(fake.stdout) for _ in range(13)]
            fake.send_signal(signal.SIGTERM)
            done = await finished(fake)
    assert f'api_url="http://127.0.0.1:{port}/api/v10"' in lines[3]
    assert lines[6].startswith("And a bot of another library, ")
    assert lines[7] == f'  discord.http.Route.BASE = "http://127.0.0.1:{port}/api/v10"\n'
    assert lines[8].endswith(f'rest_url="http://127.0.0.1:{port}/api/v10")\n')
    assert lines[9].startswith("A discord.py bot without fastgw.attach(bot) connects to Discord")
    assert lines[11].endswith(f'DEFAULT_GATEWAY = yarl.URL("ws://127.0.0.1:{port}")\n')
    assert max(map(len, lines)) <= 81
    assert "any token but the real one" in lines[2]
    assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.parametrize(
    ("code", "says", "error"),
    [
        ("401", "the API refuses every token: 401 Unauthorized", AuthenticationFailed),
        ("4004", "every bot is refused: 4004 Authentication failed", AuthenticationFailed),
        ("4010", "every bot is refused: 4010 Invalid shard", InvalidShard),
        ("4011", "every bot is refused: 4011 Sharding required", ShardingRequired),
        ("4013", "every bot is refused: 4013 Invalid intent(s)", InvalidIntents),
        ("4014", "bots that ask for privileged intents are refused: 4014 Disallowed intent(s)",
         DisallowedIntents),
    ],
)  # fmt: skip
async def test_a_bot_sees_how_discord_refuses_it(code, says, error):
    """With Discord's own numbers and words; the fake goes on for the next try."""
    async with started("fake", "--refuse", code) as fake:
        lines = [await next_line(fake.stdout) for _ in range(7)]
        api_url = lines[3].split('api_url="')[1].split('"')[0]
        for _ in range(2):
            gateway = Gateway("any-token", intents=Intents.all(), api_url=api_url)
            with pytest.raises(error):
                async with gateway:
                    pytest.fail("it became ready")
        done = await finished(fake, interrupt=True)
    assert lines[1] == f"  {says}\n"
    assert done.returncode == 130


async def test_bots_without_privileged_intents_are_taken_where_those_are_not_enabled():
    """As by Discord; `fastgw doctor` sees which are not."""
    async with started("fake", "--refuse", "4014", "--json") as fake:
        api_url = json.loads(await next_line(fake.stdout))["api_url"]
        async with Gateway("any-token", intents=Intents.default(), api_url=api_url) as gateway:
            assert len(gateway.shards) == 1
        checked = await fastgw("doctor", "--api-url", api_url, "--json")
    (intents,) = (c for c in json.loads(checked.stdout)["checks"] if "intents" in c["name"])
    assert "MESSAGE_CONTENT" in intents["advice"]


async def test_a_port_that_is_taken_is_told():
    """One line, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = await fastgw("fake", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "choose another --host or --port" in line
