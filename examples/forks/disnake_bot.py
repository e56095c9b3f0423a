"""A disnake bot on fastgw's gateway: a slash command, and one line. Needs DISCORD_TOKEN."""

import os

import disnake
from disnake.ext import commands

import fastgw


def make_bot() -> commands.AutoShardedInteractionBot:
    bot = commands.AutoShardedInteractionBot(
        intents=disnake.Intents.default(),
        max_messages=None,
        member_cache_flags=disnake.MemberCacheFlags.none(),
    )
    fastgw.attach(bot)  # <- the line

    @bot.slash_command(description="Say pong")
    async def ping(interaction: disnake.ApplicationCommandInteraction) -> None:
        await interaction.response.send_message(f"pong, {interaction.author.name}")

    return bot


if __name__ == "__main__":
    make_bot().run(os.environ["DISCORD_TOKEN"])
