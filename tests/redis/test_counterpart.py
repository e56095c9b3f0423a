"""What a consumer says of gateways that publish for it, or do not."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from deadline import until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw.redis import Consumer, Publisher
from fastgw.redis import counterpart as module
from fastgw.redis.counterpart import AWAY_S, NOBODY_S, Counterpart
from fastgw.testing import FakeGateway


class Streams:
    """Whether somebody publishes, as the test says."""

    prefix, shown = "fgw", "redis://host"
    count = b""

    def key(self, *parts):
        return ":".join(parts)

    async def run(self, name, keys, arguments):
        return self.count


@pytest.fixture
def clock(monkeypatch):
    """Time that the test moves."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def test_a_gateway_that_never_came_is_missed_once(clock, caplog):
    """After some seconds; it says which prefix, and where."""
    counterpart = Counterpart(Streams(), "bot", 1, (0,))
    assert counterpart.is_there is None
    await counterpart.look()
    clock.now += NOBODY_S - 1.0
    await counterpart.look()
    assert not caplog.records
    for _ in range(3):
        clock.now += 1.0
        await counterpart.look()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "group 'bot' under prefix 'fgw' at redis://host: is a gateway" in record.getMessage()


async def test_a_gateway_between_two_runs_is_not_missed(clock, caplog):
    """One that was there may be away for as long as a deploy takes; then it is missed."""
    streams = Streams()
    counterpart = Counterpart(streams, "bot", 1, (0,))
    for _ in range(2):
        streams.count = b"1"
        await counterpart.look()
        streams.count = b""
        await counterpart.look()
        clock.now += AWAY_S - 1.0
        await counterpart.look()
    assert not caplog.records
    clock.now += 1.0
    await counterpart.look()
    assert [r.levelname for r in caplog.records] == ["WARNING"]


@pytest.mark.redis
@needs_redis
@pytest.mark.one_loop
async def test_a_wrong_prefix_is_said_and_a_gateway_that_comes(tmp_path, monkeypatch, caplog):
    """The one publishes for nobody, and the other waits for ever, both without an error."""
    monkeypatch.setattr(module, "NOBODY_S", 0.2)
    caplog.set_level(logging.INFO, "fastgw.streams")
    server = RedisServer(tmp_path)
    try:
        bot = Consumer(server.url, group="bot", shards=1, lease_s=0.3)
        bot.on("MESSAGE_CREATE")(lambda event: None)
        assert bot.health().is_published is None
        async with FakeGateway() as fake, bot:
            async with gateway_to(fake, publish=Publisher(server.url, prefix="other")):
                await until(lambda: "nobody publishes for group 'bot'" in caplog.text)
            assert f"under prefix 'fgw' at {server.url}" in caplog.text
            assert bot.health().is_published is False
            async with gateway_to(fake, publish=Publisher(server.url)):
                await until(lambda: "a gateway publishes for group 'bot' now" in caplog.text)
                assert bot.health().is_published is True
    finally:
        server.stop()
    assert caplog.text.count("nobody publishes") == 1
