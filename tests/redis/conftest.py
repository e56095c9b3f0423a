"""`fastgw run --redis` as several machines start it, beside a fake gateway and a real Redis."""

from __future__ import annotations

import pytest
from fleet_command import FleetCommand
from redis_server import RedisServer


@pytest.fixture
def server(tmp_path):
    """A server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def machine(tmp_path, server):
    """Start one more `fastgw run --redis`, with a folder of its own; all are killed at the end."""
    started = []

    async def start(fake, *arguments, **environment):
        folder = tmp_path / f"machine-{len(started)}"
        folder.mkdir()
        command = FleetCommand(folder)
        started.append(command)
        await command.start(fake, "--redis", server.url, *arguments, **environment)
        return command

    yield start
    for command in started:
        await command.kill()
