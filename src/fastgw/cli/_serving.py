"""What `fake` and `replay` share: a fake gateway that says where it is, and how it fares."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ._terminal import Waiting

if TYPE_CHECKING:
    from ..testing import FakeGateway

__all__ = ["announce", "report", "run_to_the_end"]

T = TypeVar("T")

# Often enough for a counter that somebody watches.
LOOK_S = 0.25
_TERMINATED = 128 + signal.SIGTERM


def run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine; SIGINT and SIGTERM cancel it, so that what it opened is closed.

    Raises:
        KeyboardInterrupt: after SIGINT.
        SystemExit: after SIGTERM, with 143.
    """
    terminated = False

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None

        def end() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        with contextlib.suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await main

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(_TERMINATED) from None
        raise


def announce(fake: FakeGateway, what: str, *, as_json: bool) -> None:
    """Say where it listens, and how a bot gets there."""
    if as_json:
        lines = [json.dumps({"url": fake.url, "api_url": fake.api_url})]
    else:
        lines = [
            f"A fake Discord gateway listens on {fake.url}",
            f"  {what}",
            "Point a bot at it, with any token:",
            f'  Gateway("token", intents=..., api_url="{fake.api_url}")',
            f"  fastgw run bot:gateway --api-url {fake.api_url}",
            f"  DISCORD_TOKEN=token fastgw tail --api-url {fake.api_url}",
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
