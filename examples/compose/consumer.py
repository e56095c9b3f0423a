"""Where the handlers run, as often as you like: `python consumer.py`."""

import asyncio
import os
import signal

import fastgw

bot = fastgw.Consumer(os.environ["REDIS_URL"], group="bot", shards=int(os.environ["SHARDS"]))


@bot.on("MESSAGE_CREATE", where=~fastgw.field("author.bot").is_true())
async def seen(event: fastgw.Event) -> None:
    """Do here what the bot does; an event that is not finished comes again to the next one."""
    print(event.data["author"]["username"], "in", event.data["channel_id"], flush=True)


@bot.on("SESSION_RESET", "LOST")
def a_hole(event: fastgw.Event) -> None:
    print("shard", event.shard_id, "lost events:", event.name, event.data, flush=True)


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with bot:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
