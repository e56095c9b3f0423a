"""
discord.py, or what stands in its place: its client, gateway and state code; caches off.

Forks have a package of their own, or the name of discord.py's, and decompress zlib alone.

Only the HTTP bootstrap is replaced (two REST answers and the gateway's address). Its guilds stay
cached: that cannot be switched off. Where nobody listens it parses and builds all the same, unless
fastgw is below it: that is the other way to run it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import aiohttp

from ..rig.client import Job, gateway_compression
from ..rig.meter import Meter

_USER = {
    "id": "80351110224678912",
    "username": "bench",
    "discriminator": "0001",
    "global_name": None,
    "avatar": None,
    "bot": True,
    "flags": 0,
}
_APPLICATION = {
    "id": _USER["id"],
    "name": "bench",
    "description": "",
    "icon": None,
    "summary": "",
    "verify_key": "00",
    "flags": 565_248,
    "bot_public": True,
    "bot_require_code_grant": False,
    "owner": _USER,
}
_LIMIT = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}


async def run(
    job: Job, meter: Meter, attached: bool = False, package: str = "discord"
) -> dict[str, str]:
    """Log in with prepared answers, connect, receive until the last event."""
    if job.compression == "zlib":
        # It takes zstd when it finds a package for it: hide them.
        sys.modules["zstandard"] = sys.modules["compression.zstd"] = None
    import yarl

    discord = importlib.import_module(package)
    socket_class = importlib.import_module(f"{package}.gateway").DiscordWebSocket

    class Client(discord.Client):  # type: ignore[name-defined, misc]
        """Subclasses define events by name."""

    for method, handler in _handlers(job, meter).items():
        setattr(Client, method, handler)
    client = Client(
        intents=discord.Intents.all(),
        max_messages=None,
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        # It waits for more guilds all the time: who is not called for two seconds loses one.
        guild_ready_timeout=60.0,
        **({"enable_raw_presences": True} if package == "discord" else {}),
        connector=aiohttp.TCPConnector(limit=0, ssl=job.ssl_context() or True),
    )

    async def request(route: Any, **_: Any) -> Any:
        if route.path.startswith("/gateway"):  # forks ask
            return {"url": job.url, "shards": 1, "session_start_limit": _LIMIT}
        if route.path == "/users/@me":
            return _USER
        # Beside it forks ask for commands and sounds that there are.
        return _APPLICATION if route.path.endswith("applications/@me") else []

    client.http.request = request
    socket_class.DEFAULT_GATEWAY = yarl.URL(job.url)
    if job.compression == "none":
        _connect_uncompressed(socket_class)
    if attached:
        import fastgw

        fastgw.attach(
            client,
            info=fastgw.GatewayInfo(job.url),
            ssl_context=job.ssl_context(),
            compress=gateway_compression(job),
        )
    await client.login("bench")
    connection = asyncio.ensure_future(client.connect(reconnect=False))
    done = asyncio.ensure_future(meter.done.wait())
    await asyncio.wait([connection, done], return_when=asyncio.FIRST_COMPLETED)
    if not meter.done.is_set():
        connection.result()
        raise ConnectionError("the connection ended before the last event")
    return {"version": discord.__version__}


def _connect_uncompressed(kind: Any) -> None:
    """Have the client ask for no compression, which its own code offers as a parameter."""
    original = kind.from_client.__func__

    async def from_client(cls: Any, client: Any, **options: Any) -> Any:
        return await original(cls, client, compress=False, **options)

    kind.from_client = classmethod(from_client)


def _handlers(job: Job, meter: Meter) -> dict[str, Any]:
    """Return the event methods for the job's names: model or raw event, as caches off allow."""
    left, checksum = meter.prelude, 0

    def count(guild_id: int | None) -> None:
        nonlocal left, checksum
        checksum += guild_id or 0
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    async def on_model(_self: Any, model: Any) -> None:
        count(model.guild.id if model.guild is not None else None)

    async def on_raw(_self: Any, raw: Any) -> None:
        count(raw.guild_id)

    async def on_interaction(_self: Any, interaction: Any) -> None:
        count(interaction.guild_id)

    async def on_guild(_self: Any, guild: Any) -> None:
        count(guild.id)

    async def on_voice_state_update(_self: Any, member: Any, _before: Any, _after: Any) -> None:
        count(member.guild.id)

    methods = {
        "GUILD_CREATE": {"on_guild_available": on_guild},
        "INTERACTION_CREATE": {"on_interaction": on_interaction},
        "MESSAGE_CREATE": {"on_message": on_model},
        "MESSAGE_DELETE": {"on_raw_message_delete": on_raw},
        "MESSAGE_REACTION_ADD": {"on_raw_reaction_add": on_raw},
        "MESSAGE_REACTION_REMOVE": {"on_raw_reaction_remove": on_raw},
        "MESSAGE_UPDATE": {"on_raw_message_edit": on_raw},
        "PRESENCE_UPDATE": {"on_raw_presence_update": on_raw},
        "TYPING_START": {"on_raw_typing": on_raw},
        "VOICE_STATE_UPDATE": {"on_voice_state_update": on_voice_state_update},
    }
    return {m: handler for name in job.names for m, handler in methods[name].items()}
