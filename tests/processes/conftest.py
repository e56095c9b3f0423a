"""Bots in processes of their own, beside a fake gateway in the process of the test."""

from __future__ import annotations

import asyncio

import pytest
from fleet_command import FleetCommand, StartFleet


def pytest_asyncio_loop_factories(config, item):
    """Serve on one loop: it is the fake gateway's alone, supervisor and workers have their own."""
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def run_fleet(tmp_path) -> StartFleet:
    """Start `fastgw run fleet_bot:gateway` with these arguments; it is killed after the test."""
    started = []

    async def run(fake, *arguments, **environment):
        command = FleetCommand(tmp_path)
        started.append(command)
        await command.start(fake, *arguments, **environment)
        return command

    yield run
    for command in started:
        await command.kill()
