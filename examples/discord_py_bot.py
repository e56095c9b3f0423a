"""
A discord.py bot on fastgw's gateway: a slash command, and one line. Needs DISCORD_TOKEN.

With the caches of messages and members off, nearly everything that Discord sends is dropped
unparsed; `fastgw explain discord_py_bot:make_bot` says which events are, and why.
"""

import os

import discord
from discord.ext import commands

import fastgw


class Bot(commands.AutoShardedBot):
    async def setup_hook(self) -> None:
        await self.tree.sync()


def make_bot() -> Bot:
    bot = Bot(
        commands.when_mentioned,
        intents=discord.Intents.default(),
        help_command=None,
        max_messages=None,
        member_cache_flags=discord.MemberCacheFlags.none(),
    )
    fastgw.attach(bot)  # <- the line

    @bot.tree.command(description="Say pong")
    async def ping(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"pong, {interaction.user.name}")

    return bot


if __name__ == "__main__":
    make_bot().run(os.environ["DISCORD_TOKEN"])
