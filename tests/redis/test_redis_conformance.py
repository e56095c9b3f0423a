"""Redis' store and queue do what every store and queue must do."""

from __future__ import annotations

import asyncio

import pytest
from redis_server import RedisServer, needs_redis

from fastgw.redis import RedisIdentifyQueue, RedisSessionStore
from fastgw.testing.conformance.queues import IdentifyQueueSuite
from fastgw.testing.conformance.stores import SessionStoreSuite

pytestmark = [pytest.mark.redis, needs_redis]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of the file; each has a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class TestRedisSessionStore(SessionStoreSuite):
    """Sessions."""

    @pytest.fixture(autouse=True)
    def _on(self, server, request):
        self.url, self.prefix = server.url, request.node.nodeid

    def make_store(self):
        # Longer than a busy machine stands still: who has a shard has it until it is waited for.
        return RedisSessionStore(self.url, prefix=self.prefix, lease_s=2.0)


class TestRedisIdentifyQueue(IdentifyQueueSuite):
    """Turns and the day's budget."""

    @pytest.fixture(autouse=True)
    def _on(self, server, request):
        self.url, self.prefix = server.url, request.node.nodeid

    def make_queue(self, *, max_concurrency=None, padding_s=(0.0, 0.0), reserve=0):
        return RedisIdentifyQueue(
            self.url,
            prefix=self.prefix,
            max_concurrency=max_concurrency,
            interval_s=self.interval_s,
            padding_s=padding_s,
            reserve=reserve,
        )


class TestOnUvloop(TestRedisIdentifyQueue):
    """The same on another loop."""

    def new_loop(self):
        return pytest.importorskip("uvloop").new_event_loop()


def test_a_lease_of_a_process_that_is_gone_is_waited_for(server):
    """Nothing is heard of it: its shard is free when the lease has run out."""

    async def main():
        gone = await RedisSessionStore(server.url, prefix="gone", lease_s=0.5).open(1)
        await gone.take([0], 1)
        gone._mine.clear()  # as if it were killed: it renews nothing
        heir = await RedisSessionStore(server.url, prefix="gone", lease_s=0.5).open(1)
        assert await heir.take([0], 1) == {}
        await heir.close()
        await gone.close()

    asyncio.run(main())
