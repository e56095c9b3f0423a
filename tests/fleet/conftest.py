"""What tests of the fleet alone share."""

from __future__ import annotations

import asyncio
import time

import pytest
from fake_fleet import FleetWorld
from invented_time import run_in_invented_time

# A script that waits for what never comes; the fleet's own timers go on for ever.
LONG_S = 20_000.0


@pytest.fixture
def live(monkeypatch):
    """Run `live(script, **options)`: a script with a new fleet, on a clock that begins at 0."""

    def run(script, **options):
        async def main():
            monkeypatch.setattr(time, "monotonic", asyncio.get_running_loop().time)
            world = FleetWorld(monkeypatch, **options)
            try:
                return await asyncio.wait_for(script(world), LONG_S)
            finally:
                await asyncio.wait_for(world.fleet.close(), LONG_S)

        try:
            return run_in_invented_time(main())
        finally:
            monkeypatch.undo()

    return run
