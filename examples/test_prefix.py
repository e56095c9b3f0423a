"""
How a bot is tested: `pytest examples/test_prefix.py`, without Discord, a token or the internet.

`fake_gateway` comes with fastgw: a gateway of your own on loopback, which sends what the test says.
Needs pytest and pytest-asyncio, and aiohttp for the bot.
"""

import asyncio

import pytest
from prefix import make_bot

from fastgw.testing import FakeGateway

TOKEN = "no-real-token"


@pytest.mark.asyncio
async def test_a_command_is_answered_and_small_talk_is_not(fake_gateway: FakeGateway) -> None:
    said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def say(channel_id: str, content: str) -> None:
        said.put_nowait((channel_id, content))

    async with make_bot(say, token=TOKEN, info=fake_gateway.info) as bot:
        for content in ("hello", "!unknown", "!ping"):
            fake_gateway.dispatch("MESSAGE_CREATE", {"channel_id": "7", "content": content})
        assert await asyncio.wait_for(said.get(), 5.0) == ("7", "pong")
    assert said.empty()
    assert bot.stats().events["MESSAGE_CREATE"].filtered == 1  # "hello" never was an object


@pytest.mark.asyncio
async def test_a_lost_connection_loses_no_command(fake_gateway: FakeGateway) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()

    async def say(channel_id: str, content: str) -> None:
        said.put_nowait(content)

    async with make_bot(say, token=TOKEN, info=fake_gateway.info):
        fake_gateway.cut()
        fake_gateway.dispatch("MESSAGE_CREATE", {"channel_id": "7", "content": "!ping"})
        assert await asyncio.wait_for(said.get(), 10.0) == "pong"
    assert len(fake_gateway.resumes) == 1
