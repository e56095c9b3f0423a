"""A nextcord bot on fastgw's gateway: a slash command, and one line. Needs DISCORD_TOKEN."""

import os

import nextcord
from nextcord.ext import commands

import fastgw


def make_bot() -> commands.AutoShardedBot:
    bot = commands.AutoShardedBot(
        intents=nextcord.Intents.default(),
        help_command=None,
        max_messages=None,
        member_cache_flags=nextcord.MemberCacheFlags.none(),
    )
    fastgw.attach(bot)  # <- the line

    @bot.slash_command(description="Say pong")
    async def ping(interaction: nextcord.Interaction) -> None:
        await interaction.response.send_message(f"pong, {interaction.user.name}")

    return bot


if __name__ == "__main__":
    make_bot().run(os.environ["DISCORD_TOKEN"])
