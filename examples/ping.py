"""A bot that answers "!ping". Needs httpx for Discord's REST API, and DISCORD_TOKEN."""

import os
from typing import Any

import httpx

from fastgw import Event, Gateway, Intents

rest = httpx.AsyncClient(
    base_url=os.environ.get("DISCORD_API", "https://discord.com/api/v10"),
    headers={"Authorization": f"Bot {os.environ['DISCORD_TOKEN']}"},
)


def make_bot(**options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT, **options)

    @gateway.on("MESSAGE_CREATE")
    async def answer(event: Event) -> None:
        if event.data["content"] == "!ping":
            channel = event.data["channel_id"]
            await rest.post(f"/channels/{channel}/messages", json={"content": "pong"})

    return gateway


if __name__ == "__main__":
    make_bot().run()
