"""`fastgw top --redis`: a bot as its Redis shows it."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from command import fastgw
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw.cli._top_redis import render
from fastgw.redis import Consumer, Publisher, RedisIdentifyQueue, RedisSessionStore
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]
SECRET = "very-secret-word"


@pytest.fixture
def server(tmp_path):
    """A server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def once_published(*arguments):
    """Ask until both shards take commands: a publisher says so once it has begun."""
    end = asyncio.get_running_loop().time() + scaled(20.0)
    while True:
        said = await fastgw(*arguments)
        if ", 2 published" in said.stdout or asyncio.get_running_loop().time() > end:
            return said


async def test_a_bot_is_shown_from_redis_alone(server, tmp_path):
    """Its shards with who runs them, its groups with how far they are behind, and the budget."""
    idle = Consumer(server.url, group="audit", shards=2)
    idle.on("MESSAGE_CREATE")(lambda event: None)
    async with idle:
        pass  # its group is known, and nobody reads
    bot = Consumer(server.url, group="bot", shards=2)
    bot.on("MESSAGE_CREATE")(lambda event: None)
    (tmp_path / "url").write_text(server.url + "\n")
    async with bot, FakeGateway(max_concurrency=2) as fake:
        publisher = Publisher(server.url)
        async with gateway_to(
            fake, shards=2, publish=publisher, store=RedisSessionStore(server.url),
            identify_queue=RedisIdentifyQueue(server.url, padding_s=(0, 0)),
        ):  # fmt: skip
            await until(lambda: bot.shard_ids == (0, 1))
            for number in range(10):
                fake.dispatch("MESSAGE_CREATE", {"n": number}, shard_id=number % 2)
            await until(lambda: bot.stats().handled == 10)
            plain = await once_published("top", "--redis", server.url)
            said = await fastgw("top", "--redis", f"@{tmp_path / 'url'}", "--json")
    assert (plain.returncode, plain.stderr) == (0, "")
    lines = plain.stdout.splitlines()
    assert lines[0].startswith("2 of 2 shards leased by 1 process, 2 published, identifies 998 of")
    groups = {line.split()[0]: line.split() for line in lines[4:6]}
    assert groups["audit"][1:4] == ["0", "0", "12"]  # ten events, and the marks of two sessions
    assert groups["bot"][1:4] == ["1", "2", "0"]
    assert [line.split()[:2] for line in lines[-2:]] == [["0", "process"], ["1", "process"]]
    assert max(map(len, lines)) < 80
    assert "\x1b" not in plain.stdout
    assert said.returncode == 0
    now = json.loads(said.stdout)
    assert [shard["shard_id"] for shard in now["shards"]] == [0, 1]
    assert all(0 < shard["lease_left_s"] <= 10 for shard in now["shards"])
    assert all(shard["session_age_s"] < 600 for shard in now["shards"])
    (audit, _) = now["groups"]
    assert audit["entries"] == 12
    assert audit["oldest_age_s"] >= 0
    assert now["identify_budget"] == {"total": 1_000, "remaining": 998}


async def test_a_shard_that_nobody_runs_comes_first(server):
    """And makes the exit code 1."""
    store = await RedisSessionStore(server.url).open(1)
    await store.take([0, 1], 2)
    await store.release([1])
    done = await fastgw("top", "--redis", server.url)
    await store.close()
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("1 of 2 shards leased by 1 process")
    assert done.stdout.splitlines()[-2].split()[:3] == ["1", "-", "-"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--redis", "http://localhost"], "redis://host:6379/0"),
        (["--redis", f"redis://:{SECRET}@127.0.0.1:PORT"], "127.0.0.1"),
        (["--redis", "URL?socket_timeout=abc"], "socket_timeout"),
        (["--redis", "@/nowhere/url"], "cannot be read"),
        (["--redis", "URL", "--redis-prefix", "{x}"], "prefix"),
        (["--redis", "URL"], "no bot under the keys {fgw}:*"),
        (["--json"], "--redis"),
    ],
    ids=["no-url", "no-server", "option", "no-file", "no-prefix", "no-bot", "no-redis"],
)
async def test_what_cannot_be_read_is_one_clear_line(server, options, says):
    """Exit code 2; no traceback, and no password."""
    options = [one.replace("PORT", str(free_port())).replace("URL", server.url) for one in options]
    done = await fastgw("top", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


async def test_a_wrong_password_is_not_shown(tmp_path):
    """It says that it is refused."""
    server = RedisServer(tmp_path, "--requirepass", "right")
    try:
        done = await fastgw("top", "--redis", f"unix://:{SECRET}@{server.socket}")
    finally:
        server.stop()
    assert done.returncode == 2
    assert "refuses the user or the password" in done.stderr
    assert SECRET not in done.stderr


def overview(shards):
    return {
        "redis": "redis://h", "members": 1, "groups": [], "identify_budget": None,
        "shards": [
            {
                "shard_id": number, "owner": "process 7 on a-machine-with-a-long-name.example",
                "lease_left_s": 9.9, "stored_age_s": 1.0, "is_published": True,
                "epoch": 1_795_784_112_345, "session_age_s": 200_000.0,
            }
            for number in range(shards)
        ],
    }  # fmt: skip


def test_a_screen_that_is_too_small_says_how_many_more_there_are(monkeypatch):
    """No line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = render(overview(1_000), 24)
    assert len(lines) <= 24
    assert lines[-1] == "... 981 more, 981 of them run"
    assert max(map(len, lines)) == 79
    assert lines[-2].endswith("2 d 7 h 1795784112345")
    assert next(line for line in lines if line.startswith("shard")).endswith("        epoch")
