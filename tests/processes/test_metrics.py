"""`fastgw run --metrics`: the endpoint of the supervisor, over all workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import urllib.request

import pytest
from command import fastgw
from deadline import scaled
from fleet_command import PATIENCE_S, kill
from ports import keep_port, port_of

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="processes are looked at in /proc"
)


@pytest.fixture
def address():
    """Where the command serves; nobody else is given the port before."""
    with keep_port() as kept:
        yield f"127.0.0.1:{port_of(kept)}"


def get(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=20.0) as answer:
        return answer.read().decode()
    return None


async def got(url, condition):
    """Ask until the answer meets a condition; return it."""
    end = time.monotonic() + scaled(PATIENCE_S)
    while True:
        text = await asyncio.to_thread(get, url)
        if text is not None and condition(text):
            return text
        assert time.monotonic() < end, text
        await asyncio.sleep(0.1)


async def test_top_shows_all_processes(run_fleet, address):
    """Rates and all: workers tell their counts every few seconds, and the table waits for that."""
    async with FakeGateway(recommended_shards=4, max_concurrency=4) as fake:
        fleet = await run_fleet(fake, "--processes", "2", "--metrics", address)
        await fleet.wait_ready(4)
        playing = asyncio.ensure_future(play_for_ever(fake))
        try:
            done = await fastgw("top", address, "--once")
        finally:
            playing.cancel()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("4 of 4 shards READY in 2 processes, 0 restarts, identifies 996")
    rows = [line.split() for line in lines[5:9]]
    assert [row[:3] for row in rows] == [
        ["0", "0", "ready"], ["1", "0", "ready"], ["2", "1", "ready"], ["3", "1", "ready"],
    ]  # fmt: skip
    assert min(int(row[3]) for row in rows) > 0
    assert max(map(len, lines)) < 80


async def play_for_ever(fake):
    """Give each shard something to count."""
    while True:
        for shard_id in range(4):
            fake.dispatch("MESSAGE_CREATE", {"content": "hello"}, shard_id=shard_id)
        await asyncio.sleep(0.02)


async def test_all_processes_are_served(run_fleet, address):
    """The sum of all, shards with their process, and nothing falls when a worker is killed."""
    async with FakeGateway(recommended_shards=4, max_concurrency=4) as fake:
        url = f"http://{address}"
        fleet = await run_fleet(fake, "--processes", "2", "--metrics", address)
        await fleet.wait_ready(4)

        def is_told(text):
            return json.loads(text)["counts"]["total"].get("identifies") == 4

        document = json.loads(await got(f"{url}/stats.json", is_told))
        assert [(s["shard_id"], s["process"]) for s in document["shards"]] == [
            (0, 0), (1, 0), (2, 1), (3, 1),
        ]  # fmt: skip
        assert [p["phase"] for p in document["processes"]] == ["running", "running"]
        assert await got(f"{url}/healthz", bool) == "ok\n"
        assert await got(f"{url}/readyz", bool) == "ok\n"
        metrics = await got(f"{url}/metrics", bool)
        assert 'fastgw_shard_identifies_total{shard="3"} 1.0' in metrics
        assert "not.a.token" not in metrics + json.dumps(document)

        await fleet.wait_stored(4)
        kill(fleet.workers[0]["pid"])

        def has_resumed(text):
            total = json.loads(text)["counts"]["total"]
            assert total["identifies"] >= 4
            return total["resumes_won"] == 2

        document = json.loads(await got(f"{url}/stats.json", has_resumed))
        assert document["processes"][0]["restarts"] == 1
