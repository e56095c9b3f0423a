"""
Who joins, leaves and moves between voice channels, as lines on stdout. Needs DISCORD_TOKEN.

A voice state says where somebody is, not where they were, so the bot remembers that: three ids a
person. GUILD_CREATE says who sat there already.
"""

from typing import Any

from fastgw import Event, Gateway, Intents, types


def make_bot(**options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.GUILDS | Intents.GUILD_VOICE_STATES, **options)
    where: dict[tuple[str, str], str] = {}  # guild and user -> channel

    @gateway.on("GUILD_CREATE")
    def came(event: Event[types.GuildCreate]) -> None:
        guild = event.data
        for state in guild.get("voice_states", []):
            if state["channel_id"] is not None:
                where[guild["id"], state["user_id"]] = state["channel_id"]

    @gateway.on("VOICE_STATE_UPDATE", fields=("guild_id", "user_id", "channel_id"))
    def moved(guild_id: str, user_id: str, channel_id: str | None) -> None:
        before = where.pop((guild_id, user_id), None)
        if channel_id is not None:
            where[guild_id, user_id] = channel_id
        if before == channel_id:
            return  # muted, deafened, a camera: nobody moved
        if before is None:
            print(f"{user_id} joined {channel_id}", flush=True)
        elif channel_id is None:
            print(f"{user_id} left {before}", flush=True)
        else:
            print(f"{user_id} moved from {before} to {channel_id}", flush=True)

    return gateway


if __name__ == "__main__":
    make_bot().run()
