"""Several processes of one attached bot, beside the service that all of them connect to."""

from __future__ import annotations

from pathlib import Path

from child_bot import ChildBot
from deadline import scaled

from fastgw.testing import FakeGateway

__all__ = ["INTERVAL_S", "PATIENCE_S", "SHARDS", "Processes", "identified"]

INTERVAL_S = 0.5
SHARDS = 4
# Processes that import a library need seconds, and minutes where others work as well.
PATIENCE_S = 240


class Processes:
    """
    Processes of one bot; those that still run at the end of the block are killed.

    Args:
        script: what they run; it takes the address of the API, the queue, its interval, the shard
            that holds its turn, the number of shards, and which of them are its own.
        fake: the service.
        queue: the SQLite file of their identify queue.
    """

    def __init__(self, script: str, fake: FakeGateway, queue: Path) -> None:
        self._script, self._fake, self._queue = script, fake, queue
        self._running: list[ChildBot] = []

    async def __aenter__(self) -> Processes:
        return self

    async def __aexit__(self, *_: object) -> None:
        for bot in list(self._running):
            await self.kill(bot)

    async def start(self, *shard_ids: int, hold: int = -1) -> ChildBot:
        """Start one that runs these shards; `hold` names the one that never lets its turn go."""
        arguments = (self._fake.api_url, self._queue, INTERVAL_S, hold, SHARDS, *shard_ids)
        bot = ChildBot(self._script, *map(str, arguments))
        await bot.start()
        self._running.append(bot)
        return bot

    async def kill(self, bot: ChildBot) -> None:
        """SIGKILL."""
        self._running.remove(bot)
        await bot.kill()

    async def ready(self, *shard_ids: int) -> None:
        """Wait until the service has sent them READY."""
        for shard_id in shard_ids:
            await self._fake.wait_ready(shard_id, timeout_s=scaled(PATIENCE_S))


def identified(fake: FakeGateway) -> list[int]:
    """Return the shards that identified, sorted."""
    return sorted(identify["shard"][0] for identify in fake.identifies)
