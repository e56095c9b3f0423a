"""
A bot with a prefix that pays for its prefix only. Needs aiohttp, and DISCORD_TOKEN.

In a large bot one message in thousands is a command. `where=` is asked during the walk over the
message's text: all others are counted (`stats().events`) and gone, without an object.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from fastgw import Gateway, Intents, field

API = os.environ.get("DISCORD_API", "https://discord.com/api/v10")
PREFIX = "!"

is_command = field("content").startswith(PREFIX) & ~field("author.bot").is_true()


def ping(arguments: str) -> str:
    return "pong"


def roll(arguments: str) -> str:
    count, _, sides = arguments.partition("d")
    dice = [random.randint(1, int(sides or 6)) for _ in range(min(int(count or 1), 20))]
    return f"{' + '.join(map(str, dice))} = {sum(dice)}"


COMMANDS: dict[str, Callable[[str], str]] = {"ping": ping, "roll": roll}


def make_bot(say: Callable[[str, str], Awaitable[object]], **options: Any) -> Gateway:
    """Make it; `say` posts to a channel, so that a test needs no HTTP."""
    gateway = Gateway(intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT, **options)

    @gateway.on("MESSAGE_CREATE", fields=("channel_id", "content"), where=is_command)
    async def command(channel_id: str, content: str) -> None:
        name, _, arguments = content.removeprefix(PREFIX).partition(" ")
        run = COMMANDS.get(name)
        if run is not None:
            await say(channel_id, run(arguments.strip()))

    return gateway


async def main() -> None:
    headers = {"Authorization": f"Bot {os.environ['DISCORD_TOKEN']}"}
    async with aiohttp.ClientSession(headers=headers) as rest:

        async def say(channel_id: str, content: str) -> None:
            url = f"{API}/channels/{channel_id}/messages"
            async with rest.post(url, json={"content": content}) as answer:
                answer.raise_for_status()

        async with make_bot(say) as gateway:
            await gateway.wait_closed()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # of Ctrl-C, when all is closed
        asyncio.run(main())
