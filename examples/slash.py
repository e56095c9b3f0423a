"""
Slash commands, answered by plain HTTP. Needs aiohttp, and DISCORD_TOKEN.

INTERACTION_CREATE needs no intent at all, so this bot's connection is nearly silent. The answer
goes to the interaction's callback, within three seconds and without the bot's token: the
interaction has its own.
"""

import asyncio
import contextlib
import os
import time
from typing import Any

import aiohttp

from fastgw import Event, Gateway, Intents, field, types

API = os.environ.get("DISCORD_API", "https://discord.com/api/v10")

APPLICATION_COMMAND = 2
CHANNEL_MESSAGE_WITH_SOURCE = 4
STRING_OPTION = 3
EPHEMERAL = 64

COMMANDS = [
    {"name": "uptime", "description": "How long the bot has been running"},
    {
        "name": "say",
        "description": "Say something",
        "options": [
            {"type": STRING_OPTION, "name": "text", "description": "What", "required": True}
        ],
    },
]


def make_bot(rest: aiohttp.ClientSession, **options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.none(), **options)
    began_at = time.monotonic()

    @gateway.on("READY", once=True)
    async def register(event: Event[types.Ready]) -> None:
        application_id = event.data["application"]["id"]
        token = os.environ["DISCORD_TOKEN"]
        url = f"{API}/applications/{application_id}/commands"
        headers = {"Authorization": f"Bot {token}"}
        async with rest.put(url, json=COMMANDS, headers=headers) as answer:
            answer.raise_for_status()

    @gateway.on("INTERACTION_CREATE", where=field("type").equals(APPLICATION_COMMAND))
    async def command(event: Event[types.InteractionCreate]) -> None:
        interaction = event.data
        data = interaction["data"]
        given = {option["name"]: option.get("value") for option in data.get("options", [])}
        if data.get("name") == "uptime":
            reply = {"content": f"{time.monotonic() - began_at:.0f} s", "flags": EPHEMERAL}
        else:
            reply = {"content": str(given.get("text"))}
        url = f"{API}/interactions/{interaction['id']}/{interaction['token']}/callback"
        body = {"type": CHANNEL_MESSAGE_WITH_SOURCE, "data": reply}
        async with rest.post(url, json=body) as answer:
            answer.raise_for_status()

    return gateway


async def main() -> None:
    async with aiohttp.ClientSession() as rest, make_bot(rest) as gateway:
        await gateway.wait_closed()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # of Ctrl-C, when all is closed
        asyncio.run(main())
