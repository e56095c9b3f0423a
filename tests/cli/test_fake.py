"""`fastgw fake`: it says where it is, a bot that goes there gets events, and Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
import socket

import pytest
from command import fastgw, finished, next_line, started
from deadline import until

from fastgw import Gateway, Intents

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


async def test_it_says_how_to_point_a_bot_at_it():
    """On lines that fit 80 columns; the port is the one that was asked for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with started("fake", "--profile", "quiet", "--port", port) as fake:
        lines = [await next_line(fake.stdout) for _ in range(7)]
        fake.send_signal(signal.SIGTERM)
        done = await finished(fake)
    assert f'api_url="http://127.0.0.1:{port}/api/v10"' in lines[3]
    assert max(map(len, lines)) <= 81
    assert (done.returncode, done.stderr) == (143, "")


async def test_a_port_that_is_taken_is_told():
    """One line, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = await fastgw("fake", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "choose another --host or --port" in line
