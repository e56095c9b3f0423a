"""`fastgw run --redis`: store and identify turns of all processes are in one server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from deadline import until
from fleet_command import PATIENCE_S
from redis_server import RedisServer, needs_redis

from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, pytest.mark.one_loop, needs_redis]
SHARDS = 4


@pytest.fixture
async def fake():
    """Serve four shards, each with a key of its own."""
    async with FakeGateway(recommended_shards=SHARDS, max_concurrency=SHARDS) as fake:
        yield fake


async def test_two_machines_with_a_part_each(fake, machine):
    """Sessions and turns are in Redis alone; a second start resumes them, on another machine."""
    one = await machine(fake, "--shards", "0-1", "--shard-count", "4", "--processes", "2")
    other = await machine(fake, "--shards", "2-3", "--shard-count", "4")
    await one.wait_ready(2)
    await other.wait_ready(2)
    assert not one.path.exists()
    for command in (one, other):
        command.signal(signal.SIGTERM)
        assert await command.wait_ended() == 0, command.errors
    again = await machine(fake, "--shards", "0-3", "--shard-count", "4")
    await again.wait_ready(4)
    assert (len(fake.identifies), len(fake.resumes)) == (4, 4)


async def test_a_gateway_with_a_store_of_its_own_is_refused(fake, machine, tmp_path):
    """What the processes do not share, they could run twice."""
    (tmp_path / "own_store.py").write_text(
        "import fastgw\ngateway = fastgw.Gateway(intents=1, store=fastgw.MemorySessionStore())\n"
    )
    path = f"{tmp_path}:{Path(__file__).parents[1] / 'support'}"
    command = await machine(
        fake, "--shards", "0", "--shard-count", "1",
        target="own_store:gateway", PYTHONPATH=path,
    )  # fmt: skip
    assert await command.wait_ended() == 1
    assert "leave store= and identify_queue= out" in command.errors


async def test_the_password_is_shown_nowhere(fake, machine, tmp_path):
    """Not of a server that refuses it, nor in what is said of one that is not there."""
    folder = tmp_path / "locked"
    folder.mkdir()
    locked = RedisServer(folder, "--requirepass", "right")
    secret = tmp_path / "url"
    try:
        for url, said in (
            (f"unix://:wrong-one@{locked.socket}", "refuses the user or the password"),
            ("redis://:wrong-one@127.0.0.1:1/0", "cannot be reached"),
            ("http://:wrong-one@host", "is no URL such as redis://"),
        ):
            secret.write_text(f"{url}\n")
            command = await machine(
                fake, "--redis", f"@{secret}", "--shards", "0", "--shard-count", "1"
            )
            assert await command.wait_ended() != 0
            assert said in command.errors
            assert "wrong-one" not in command.errors
    finally:
        locked.stop()


async def test_no_worker_comes_back_before_the_lease_of_the_dead_is_over(fake, machine):
    """It waits for it and resumes."""
    command = await machine(fake, "--shards", "0-3", "--shard-count", "4", "--lease", "2")
    await command.wait_ready(SHARDS)
    (worker,) = command.workers
    os.kill(worker["pid"], signal.SIGKILL)
    # More where the machine stands still for as long as a lease: then they are put out, and resume.
    await until(lambda: len(fake.resumes) >= SHARDS, PATIENCE_S)
    assert len(fake.identifies) == SHARDS
