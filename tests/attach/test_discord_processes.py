"""One bot of the discord.py family in several processes, each attached, with one identify queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from child_bot import ChildBot
from deadline import scaled, until
from discord_py_bots import MARKS

from fastgw.testing import FakeGateway

pytestmark = [*MARKS, pytest.mark.timeout(300)]

INTERVAL_S = 0.5
SHARDS = 4


class Processes:
    """Processes of one bot; those that still run at the end of the block are killed."""

    def __init__(self, fake: FakeGateway, queue: Path) -> None:
        self._fake, self._queue = fake, queue
        self._running: list[ChildBot] = []

    async def __aenter__(self) -> Processes:
        return self

    async def __aexit__(self, *_: object) -> None:
        for bot in list(self._running):
            await self.kill(bot)

    async def start(self, *shard_ids: int, hold: int = -1) -> ChildBot:
        """Start one that runs these shards; `hold` names the one that never lets its turn go."""
        arguments = (self._fake.api_url, self._queue, INTERVAL_S, hold, SHARDS, *shard_ids)
        bot = ChildBot("attached_child.py", *map(str, arguments))
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
            await self._fake.wait_ready(shard_id, timeout_s=scaled(60.0))


def identified(fake):
    """The shards that identified, sorted."""
    return sorted(identify["shard"][0] for identify in fake.identifies)


async def test_processes_take_turns_to_identify(tmp_path):
    """Two with half of the shards each: the service sees none too early."""
    async with (
        FakeGateway(max_concurrency=2, identify_interval_s=INTERVAL_S) as fake,
        Processes(fake, tmp_path / "queue") as processes,
    ):
        await processes.start(0, 1)
        await processes.start(2, 3)
        await processes.ready(*range(SHARDS))
        assert identified(fake) == [0, 1, 2, 3]
        assert fake.service.identifies_refused == 0


async def test_a_killed_process_leaves_its_turn_to_the_others(tmp_path):
    """SIGKILL before an identify, with the turn in hand, and right after one; 0 too early."""
    async with (
        FakeGateway(max_concurrency=2, identify_interval_s=INTERVAL_S) as fake,
        Processes(fake, tmp_path / "queue") as processes,
    ):
        first = await processes.start(0, 1, hold=1)
        await until(lambda: ["holds", "1"] in first.lines, 60)
        await processes.ready(0)
        await processes.start(2, 3)  # 3 waits for the turn of 1
        await processes.ready(2)
        assert not fake.is_ready(3)
        await processes.kill(first)
        await processes.ready(3)

        fake.mute("READY")  # what identifies now keeps its turn
        second = await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 5, 60)
        await processes.kill(second)
        fake.unmute("READY")
        await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 7, 60)
        await processes.ready(0, 1)
        assert fake.service.identifies_refused == 0
