"""What `fake` and `replay` share: a fake gateway that says where it is, and how it fares."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._terminal import Waiting

if TYPE_CHECKING:
    from ..testing import FakeGateway

__all__ = ["announce", "listening", "report"]

# Often enough for a counter that somebody watches.
LOOK_S = 0.25


@contextlib.asynccontextmanager
async def listening(fake: FakeGateway, host: str, port: int) -> AsyncIterator[None]:
    """
    Let it listen meanwhile.

    Raises:
        UsageError: it cannot, there.
    """
    try:
        await fake.start()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another --host or "
            f"--port"
        ) from error
    try:
        yield
    finally:
        await fake.stop()


def announce(fake: FakeGateway, what: str, *, as_json: bool) -> None:
    """Say where it listens, and how a bot gets there."""
    if as_json:
        lines = [json.dumps({"url": fake.url, "api_url": fake.api_url})]
    else:
        lines = [
            f"A fake Discord gateway listens on {fake.url}",
            f"  {what}",
            # Stores are each bot's own: the real one's would keep sessions of the fake.
            "Point a bot at it, with any token but the real one: DISCORD_TOKEN=fake-token",
            f'  Gateway("fake-token", intents=..., api_url="{fake.api_url}")',
            f"  fastgw run bot:gateway --api-url {fake.api_url}",
            f"  fastgw tail --api-url {fake.api_url}",
            "And a bot of another library, before it runs:",
            f'  discord.http.Route.BASE = "{fake.api_url}"',
            f'  hikari.GatewayBot("fake-token", rest_url="{fake.api_url}")',
            # Its Client asks nobody where the gateway is, and that would be Discord's.
            "A discord.py bot without fastgw.attach(bot) connects to Discord, unless you add:",
            "  from discord.gateway import DiscordWebSocket, yarl",
            f'  DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL("{fake.url}")',
            "Ctrl-C ends it.",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


async def report(fake: FakeGateway, waiting: Waiting) -> None:
    """Show for ever how many are connected and what they were sent."""
    while True:
        sessions = fake.service.sessions.values()
        sent = sum(session.sequence for session in sessions)
        waiting.show(
            text=f"{len(fake.connections)} connected, {len(sessions)} sessions, {sent:,} events"
        )
        await asyncio.sleep(LOOK_S)
