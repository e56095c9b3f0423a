"""One bot of the discord.py family in several processes, each attached, with one identify queue."""

from __future__ import annotations

import pytest
from attached_processes import INTERVAL_S, PATIENCE_S, SHARDS, Processes, identified
from deadline import until
from discord_py_bots import MARKS

from fastgw.testing import FakeGateway

pytestmark = [*MARKS, pytest.mark.timeout(900)]

CHILD = "attached_child.py"


async def test_processes_take_turns_to_identify(tmp_path):
    """Two with half of the shards each: the service sees none too early."""
    async with (
        FakeGateway(max_concurrency=2, identify_interval_s=INTERVAL_S) as fake,
        Processes(CHILD, fake, tmp_path / "queue") as processes,
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
        Processes(CHILD, fake, tmp_path / "queue") as processes,
    ):
        first = await processes.start(0, 1, hold=1)
        await until(lambda: ["holds", "1"] in first.lines, PATIENCE_S)
        await processes.ready(0)
        await processes.start(2, 3)  # 3 waits for the turn of 1
        await processes.ready(2)
        assert not fake.is_ready(3)
        await processes.kill(first)
        await processes.ready(3)

        fake.mute("READY")  # what identifies now keeps its turn
        second = await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 5, PATIENCE_S)
        await processes.kill(second)
        fake.unmute("READY")
        await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 7, PATIENCE_S)
        await processes.ready(0, 1)
        assert fake.service.identifies_refused == 0
