"""The one timer of a shard, in invented time."""

from __future__ import annotations

import asyncio

import pytest
from invented_time import run_in_invented_time

from fastgw.shard.alarm import Alarm


@pytest.mark.parametrize(
    ("sets", "rung"),
    [
        ([5.0], [5.0]),
        ([5.0, 5.0], [5.0]),
        ([5.0, 7.0], [7.0]),
        ([5.0, 3.0], [3.0]),
        ([5.0, None], []),
        ([None, 5.0], [5.0]),
        ([-3.0], [0.0]),  # it is late already
    ],
)
def test_it_rings_once_at_the_last_time_that_was_set(sets, rung):
    """None takes it back."""

    async def main():
        loop = asyncio.get_running_loop()
        began, rings = loop.time(), []
        alarm = Alarm(lambda: rings.append(loop.time() - began))
        for at in sets:
            alarm.set(at, 0.0)
        await asyncio.sleep(20.0)
        assert rings == pytest.approx(rung)

    run_in_invented_time(main())


def test_it_can_be_set_to_the_same_time_again_once_it_rang():
    """What rang is over."""

    async def main():
        rings = []
        alarm = Alarm(lambda: rings.append(1))
        for _ in range(2):
            alarm.set(5.0, 5.0)
            await asyncio.sleep(1.0)
        assert len(rings) == 2

    run_in_invented_time(main())
