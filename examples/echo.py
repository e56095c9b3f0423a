"""
A bot that says back what is said to it in private. Needs aiohttp, and DISCORD_TOKEN.

It reads two members of a message and makes no event of it; what other bots say is decided before
anything is made at all.
"""

import asyncio
import contextlib
import os
from typing import Any

import aiohttp

from fastgw import Gateway, Intents, field

API = os.environ.get("DISCORD_API", "https://discord.com/api/v10")


def make_bot(rest: aiohttp.ClientSession, **options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.DIRECT_MESSAGES, **options)

    @gateway.on(
        "MESSAGE_CREATE",
        fields=("channel_id", "content"),
        where=~field("author.bot").is_true(),
    )
    async def echo(channel_id: str, content: str) -> None:
        url = f"{API}/channels/{channel_id}/messages"
        async with rest.post(url, json={"content": content}) as answer:
            answer.raise_for_status()  # the gateway logs it as an error of this handler

    return gateway


async def main() -> None:
    headers = {"Authorization": f"Bot {os.environ['DISCORD_TOKEN']}"}
    async with aiohttp.ClientSession(headers=headers) as rest, make_bot(rest) as gateway:
        await gateway.wait_closed()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # of Ctrl-C, when all is closed
        asyncio.run(main())
