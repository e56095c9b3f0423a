"""A py-cord bot on fastgw's gateway: a slash command, and one line. Needs DISCORD_TOKEN."""

import os

import discord

import fastgw


def make_bot() -> discord.AutoShardedBot:
    bot = discord.AutoShardedBot(
        intents=discord.Intents.default(),
        max_messages=None,
        member_cache_flags=discord.MemberCacheFlags.none(),
    )
    fastgw.attach(bot)  # <- the line

    @bot.slash_command(description="Say pong")
    async def ping(context: discord.ApplicationContext) -> None:
        await context.respond(f"pong, {context.author.name}")

    return bot


if __name__ == "__main__":
    make_bot().run(os.environ["DISCORD_TOKEN"])
