"""Shards of a store that gives them on lease: out when it is over, and in again, or not."""

from __future__ import annotations

import asyncio

import pytest
from deadline import scaled, until
from gateways import gateway_to, quick_queue

from fastgw import MemorySessionStore, State
from fastgw.errors import DisallowedIntents, ShardNotHere, UsageError
from fastgw.fleet import fencing
from fastgw.fleet.roster import Membership
from fastgw.testing import FakeGateway


class Leases(MemorySessionStore):
    """A store in memory that says when a lease is over, and gives none while it is away."""

    look_s = 0.01

    def __init__(self):
        super().__init__()
        self.over = set()
        self.is_away = False

    async def open(self, bot_id):
        opened = await super().open(bot_id)
        take = opened.take

        async def take_if_there(shard_ids, shard_count):
            if self.is_away:
                raise UsageError("nobody gives leases")
            await opened.release(shard_ids)  # a lease that is over is anybody's
            return await take(shard_ids, shard_count)

        opened.take, opened.look_s, opened.expired = take_if_there, self.look_s, self._expired
        return opened

    def _expired(self):
        over, self.over = self.over, set()
        return over


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(fencing, "AGAIN_S", 0.01)
    return Leases()


async def lose(store, gateway, shard_id):
    """Let the lease of a shard be over, and nobody give another."""
    store.is_away = True
    store.over = {shard_id}
    await until(lambda: gateway._fleet._roster.state(shard_id) is Membership.AWAY)


async def test_a_shard_that_is_away_can_be_stopped(fake, store):
    """It never comes back by itself then; a start brings it as ever."""
    gateway = gateway_to(fake, store=store)
    await gateway.start()
    await gateway.wait_ready()
    await lose(store, gateway, 0)
    await asyncio.wait_for(gateway.stop_shard(0), scaled(5.0))
    with pytest.raises(ShardNotHere):
        await gateway.stop_shard(0)
    store.is_away = False
    assert not gateway._fleet._fencing._tasks
    assert gateway.shards == ()
    shard = await gateway.start_shard(0)
    await until(lambda: shard.status is State.READY)
    await gateway.close()


async def test_a_shard_that_is_stopped_while_it_is_put_out_stays_out(fake, store):
    """The stop ends when its socket is gone."""
    gateway = gateway_to(fake, store=store)
    await gateway.start()
    await gateway.wait_ready()
    fencing_tasks = gateway._fleet._fencing._tasks
    store.is_away, store.over = True, {0}  # or it might be in again before a busy machine looks
    await until(lambda: fencing_tasks)
    await asyncio.wait_for(gateway.stop_shard(0), scaled(5.0))
    assert gateway._fleet._roster.state(0) is None
    assert not fencing_tasks
    await gateway.close()


async def test_the_end_comes_when_what_was_away_is_given_up_and_the_rest_has_stopped(store):
    """As when the last one that runs is stopped."""
    async with FakeGateway(max_concurrency=2) as fake:
        gateway = gateway_to(fake, store=store, shards=2, identify_queue=quick_queue(2))
        await gateway.start()
        await gateway.wait_ready(scaled(10.0))
        await lose(store, gateway, 1)
        fake.close(4014, shard_id=0)
        await until(lambda: gateway.shards and gateway.shards[0].status is State.STOPPED)
        await gateway.stop_shard(1)
        with pytest.raises(DisallowedIntents):
            await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))


async def test_a_shard_that_was_refused_stays_stopped_when_its_lease_is_over(store):
    """It would be refused again, and whoever looks at it sees why it stopped."""
    async with FakeGateway(max_concurrency=2) as fake:
        gateway = gateway_to(fake, store=store, shards=2, identify_queue=quick_queue(2))
        await gateway.start()
        await gateway.wait_ready(scaled(10.0))
        fake.close(4014, shard_id=1)
        await until(lambda: gateway.shards[1].status is State.STOPPED)
        store.over = {1}
        await until(lambda: not gateway._fleet._roster.is_ours(1))
        assert gateway.shards[1].status is State.STOPPED
        assert not gateway._fleet._fencing._tasks
        await gateway.stop_shard(1)
        assert [shard.id for shard in gateway.shards] == [0]
        await gateway.close()
