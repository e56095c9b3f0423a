"""The compose file and the systemd units of several machines say what there is, and run."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import until
from fleet_command import PATIENCE_S
from redis_server import needs_redis

from fastgw.cli import run
from fastgw.processes.settings import STOP_TIMEOUT_S, ProcessOptions
from fastgw.processes.shared import SharedRedis
from fastgw.testing import FakeGateway

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSE = EXAMPLES / "compose"
UNITS = [
    EXAMPLES / "systemd" / name for name in ("my-bot-shared.service", "my-bot-consumer@.service")
]
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="only in the source tree")


def check(words):
    """Check the words of a command line as `fastgw run` does; return its options."""
    assert (Path(words[0]).name, words[1]) == ("fastgw", "run")
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    options = parser.parse_args(words[2:])
    url = "redis://host" if options.redis.startswith("@") else options.redis
    ProcessOptions(
        target=options.target, processes=options.processes, redis=SharedRedis(url),
        shard_count=options.shard_count,
    )  # fmt: skip
    return options


def services():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def test_the_compose_file_names_what_there_is():
    """Its services wait for one that there is, its secrets and volumes are declared."""
    document = services()
    for service in document["services"].values():
        assert set(service.get("depends_on", ())) <= set(document["services"])
        assert set(service.get("secrets", ())) <= set(document["secrets"])
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in document["volumes"]
        if "build" in service:
            assert (COMPOSE / service["build"] / "Dockerfile").exists()
    copied = re.findall(r"(\w+\.py)", (COMPOSE / "Dockerfile").read_text())
    assert all((COMPOSE / name).exists() for name in copied)


def test_the_compose_file_runs_commands_that_there_are():
    """The gateways' options are those of `fastgw run`, and all say the same of Redis and shards."""
    found = services()["services"]
    gateway, consumer = found["gateway"], found["consumer"]
    options = check(gateway["command"])
    assert options.redis == gateway["environment"]["REDIS_URL"]
    assert options.redis == consumer["environment"]["REDIS_URL"]
    assert str(options.shard_count) == consumer["environment"]["SHARDS"]
    assert (COMPOSE / consumer["command"][1]).exists()
    for service in (gateway, consumer):
        assert float(service["stop_grace_period"].removesuffix("s")) > STOP_TIMEOUT_S


def test_the_unit_of_each_machine_runs_a_command_that_there_is():
    """And gives it longer to stop than it gives its workers."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNITS[0].read_text(), re.MULTILINE))
    assert check(shlex.split(settings["ExecStart"])).redis.endswith("/REDIS_URL")
    assert float(settings["TimeoutStopSec"]) > STOP_TIMEOUT_S


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_units_are_ones(unit, tmp_path):
    """`systemd-analyze verify` has nothing to say; of a program that is there, as it wants."""
    text = re.sub(r"/srv/my-bot/.venv/bin/\w+", "/bin/true", unit.read_text())
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if copy.name in line] == []


@pytest.mark.redis
@pytest.mark.one_loop
@needs_redis
async def test_two_gateways_and_a_consumer(machine, server, tmp_path):
    """As the compose file starts them: what comes at a shard is handled, whoever has it."""
    async with FakeGateway(recommended_shards=4, max_concurrency=4) as fake:
        environment = {"PYTHONPATH": str(COMPOSE), "REDIS_URL": server.url}
        options = {"target": "gateway:gateway", **environment}
        one = await machine(fake, "--shard-count", "4", **options)
        other = await machine(fake, "--shard-count", "4", **options)
        consumer = await asyncio.create_subprocess_exec(
            sys.executable, str(COMPOSE / "consumer.py"),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | environment | {"SHARDS": "4"},
        )  # fmt: skip
        lines, reading = [], None
        try:
            await until(lambda: sum(w["ready"] for m in (one, other) for w in m.workers) == 4, 40)

            reading, sent = asyncio.create_task(_read(consumer, lines)), 0

            async def until_handled():
                """Send to each shard until all are heard of: a new group gets what comes then."""
                nonlocal sent
                before = len(lines)
                while {words[2] for words in lines[before:] if words[0] == "ann"} != set("0123"):
                    for shard_id in range(4):
                        author = {"id": "2", "username": "ann"}
                        message = {"author": author, "channel_id": str(shard_id), "content": "x"}
                        fake.dispatch("MESSAGE_CREATE", message, shard_id=shard_id)
                    await asyncio.sleep(0.1)
                    sent += 1
                    assert sent < 600

            await until_handled()
            one.signal(signal.SIGTERM)
            assert await one.wait_ended() == 0, one.errors
            await until(lambda: sum(w["ready"] for w in other.workers) == 4, PATIENCE_S)
            await until_handled()
            assert len(fake.identifies) == 4
            assert [words for words in lines if "LOST" in words] == []
            consumer.terminate()
            assert await consumer.wait() == 0
        finally:
            if consumer.returncode is None:
                consumer.kill()
            await consumer.wait()
            if reading is not None:
                await reading


async def _read(process, lines):
    while line := await process.stdout.readline():
        lines.append(line.decode().split())
