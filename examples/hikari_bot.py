"""
A hikari bot on fastgw's gateway: a slash command, and one line. Needs DISCORD_TOKEN.

Without caches, and with one listener, nearly everything that Discord sends is dropped unparsed;
what `attach()` returns says so, event by event, when the bot ends.
"""

import os

import hikari
from hikari.api import CacheComponents
from hikari.impl import CacheSettings

import fastgw


def make_bot(
    token: str, rest_url: str | None = None
) -> tuple[hikari.GatewayBot, fastgw.Attachment]:
    bot = hikari.GatewayBot(
        token,
        intents=hikari.Intents.ALL_UNPRIVILEGED,
        cache_settings=CacheSettings(components=CacheComponents.NONE),
        auto_chunk_members=False,
        banner=None,
        rest_url=rest_url,
    )
    attachment = fastgw.attach(bot)  # <- the line

    @bot.listen()
    async def answer(event: hikari.CommandInteractionCreateEvent) -> None:
        await event.interaction.create_initial_response(
            hikari.ResponseType.MESSAGE_CREATE, f"pong, {event.interaction.user.username}"
        )

    return bot, attachment


if __name__ == "__main__":
    bot, attachment = make_bot(os.environ["DISCORD_TOKEN"])
    bot.run()
    print(attachment.explain())
