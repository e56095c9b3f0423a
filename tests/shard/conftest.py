"""What tests of the driver alone share."""

from __future__ import annotations

import asyncio
import time

import pytest
from fake_dial import World
from invented_time import run_in_invented_time


@pytest.fixture
def play(monkeypatch):
    """Run `play(script, **options)`: a script with a new world, on a clock that begins at 0."""

    def run(script, **options):
        async def main():
            monkeypatch.setattr(time, "monotonic", asyncio.get_running_loop().time)
            world = World(monkeypatch, **options)
            try:
                return await script(world)
            finally:
                world.settle_s = 0.0
                await world.driver.close()

        try:
            return run_in_invented_time(main())
        finally:
            monkeypatch.undo()

    return run
