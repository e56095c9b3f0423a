"""One hikari bot in several processes, each attached, with one identify queue."""

from __future__ import annotations

import pytest
from attached_processes import INTERVAL_S, PATIENCE_S, SHARDS, Processes, identified
from deadline import until

from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.attach, pytest.mark.timeout(900)]

CHILD = "attached_hikari_child.py"


async def test_hikari_processes_take_turns_to_identify(tmp_path):
    """Two with half of the shards each, one killed right after it identified: none too early."""
    async with (
        FakeGateway(max_concurrency=2, identify_interval_s=INTERVAL_S) as fake,
        Processes(CHILD, fake, tmp_path / "queue") as processes,
    ):
        fake.mute("READY")  # what identifies keeps its turn
        first = await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 2, PATIENCE_S)
        await processes.start(2, 3)  # waits for both turns
        await processes.kill(first)
        fake.unmute("READY")
        await processes.start(0, 1)
        await until(lambda: len(fake.identifies) == 6, PATIENCE_S)
        await processes.ready(*range(SHARDS))
        assert identified(fake) == [0, 0, 1, 1, 2, 3]
        assert fake.service.identifies_refused == 0
