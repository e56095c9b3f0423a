"""
The members of every guild, in SQLite, and kept in step. Needs DISCORD_TOKEN and the members intent.

    python examples/member_sync.py members.sqlite

The gateway finds each guild's shard, matches chunks by a nonce of its own, and holds to Discord's
one request of all members in 30 seconds a guild. `bound=` lets two guilds at a time be asked; the
others wait their turn.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Iterable
from typing import Any

from fastgw import FastgwError, Gateway, Intents


def make_bot(database: sqlite3.Connection, **options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.GUILDS | Intents.GUILD_MEMBERS, **options)
    database.execute(
        "CREATE TABLE IF NOT EXISTS members"
        " (guild_id TEXT, user_id TEXT, name TEXT, PRIMARY KEY (guild_id, user_id))"
    )

    def store(rows: Iterable[tuple[str, str, str]]) -> None:
        with database:
            database.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", rows)

    @gateway.on("GUILD_CREATE", fields=("id", "unavailable"), bound=2)
    async def sync(guild_id: str, unavailable: bool | None) -> None:
        if unavailable:
            return
        try:
            async for chunk in gateway.request_members(guild_id):
                store((guild_id, m["user"]["id"], m["user"]["username"]) for m in chunk.members)
        except (FastgwError, asyncio.TimeoutError) as error:
            # Not all came; what is missing comes with the next GUILD_CREATE.
            print(f"guild {guild_id}: {error!r}", flush=True)

    @gateway.on(
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_UPDATE",
        fields=("guild_id", "user.id", "user.username"),
    )
    def changed(guild_id: str, user_id: str, name: str) -> None:
        store([(guild_id, user_id, name)])

    @gateway.on("GUILD_MEMBER_REMOVE", fields=("guild_id", "user.id"))
    def left(guild_id: str, user_id: str) -> None:
        with database:
            database.execute(
                "DELETE FROM members WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
            )

    return gateway


if __name__ == "__main__":
    make_bot(sqlite3.connect(sys.argv[1])).run()
