"""A process whose leases are over puts its shards out before others own them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

import redis
from fastgw import State
from fastgw.errors import UsageError
from fastgw.fleet.stores.boot_clock import system_boot_clock
from fastgw.redis import RedisSessionStore
from fastgw.testing import FakeGateway
from fastgw.testing.conformance.stores import BOT, session_of

pytestmark = [pytest.mark.redis, needs_redis]


@pytest.fixture
def server(tmp_path):
    """A server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


class Clocks:
    """The boot clock stands where a test puts it, and the wall clock jumps."""

    def __init__(self):
        self.boot_s, self.wall_s = 1_000.0, 0.0
        self.clock = replace(
            system_boot_clock(), boot=lambda: self.boot_s, wall=lambda: self.wall_s
        )


@pytest.fixture
def clocks():
    return Clocks()


async def opened(server, clocks=None, **options):
    """Open a store of the one bot."""
    clock = None if clocks is None else clocks.clock
    return await RedisSessionStore(server.url, clock=clock, **options).open(BOT)


def silence(store):
    """Let nothing of a store reach the server any more; return what undoes it."""
    script = store._server.script

    def fails(*args):
        raise ConnectionError("cut")

    store._server.script = fails

    def undo():
        store._server.script = script

    return undo


# ---------------------------------------------------------------------------- the store


async def test_a_lease_is_over_here_before_it_is_over_there(server, clocks):
    """A fifth early, counted from before the question; told once."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0, 1], 4)
    undo = silence(store)
    clocks.boot_s += 239.9
    assert store.expired() == set()
    clocks.boot_s += 0.2  # 240.1 s of 300
    assert store.expired() == {0, 1}
    assert store.expired() == set()
    undo()
    await store.close()


async def test_the_wall_clock_has_no_say(server, clocks):
    """An hour forward, a day back."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0], 4)
    for jump_s in (3_600.0, -86_400.0):
        clocks.wall_s += jump_s
        assert store.expired() == set()
    await store.close()


async def test_a_renewal_moves_the_end(server, clocks):
    """From when it was sent."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0], 4)
    clocks.boot_s += 200.0
    await store._thread.call(store._rows.attempt)
    clocks.boot_s += 200.0
    assert store.expired() == set()
    clocks.boot_s += 41.0
    assert store.expired() == {0}
    await store.close()


async def test_what_was_asked_for_and_not_waited_for_is_free(server):
    """Who ends in the middle of taking a shard leaves no lease that others have to wait for."""
    store = await opened(server, lease_s=300.0)
    taking = asyncio.create_task(store.take([0], 4))
    await asyncio.sleep(0)  # it has asked
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await store.close()
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        assert client.hgetall("{fgw}:owner") == {}
        assert client.exists("{fgw}:who")  # it was given


async def test_what_is_given_while_it_closes_is_given_back(server):
    """The answer comes after close() has begun: nobody would ever release it."""
    store = await opened(server, lease_s=300.0)
    script, may_answer = store._server.script, threading.Event()

    def slow(name, *args):
        answer = script(name, *args)
        if name == "take":
            assert may_answer.wait(scaled(10.0))
        return answer

    store._server.script = slow
    taking = asyncio.create_task(store.take([0], 4))
    await asyncio.sleep(0)  # it has asked
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)  # it has begun
    may_answer.set()
    with pytest.raises(UsageError, match="closed"):
        await taking
    await closing
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        assert client.hgetall("{fgw}:owner") == {}
        assert client.exists("{fgw}:who")  # it was given


async def test_each_shard_has_an_end_of_its_own(server, clocks):
    """One that was taken later is over later."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0], 4)
    clocks.boot_s += 100.0
    await store.take([1], 4)
    clocks.boot_s += 150.0
    assert store.expired() == {0}
    await store.close()


async def test_what_is_over_is_not_stored_and_not_forgotten(server, clocks):
    """Its session is whoever's takes it: nothing of this process may end it."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0], 4)
    store.save(session_of(0, sequence=7))
    await until(lambda: store._rows.is_written)
    clocks.boot_s += 300.0
    assert store.expired() == {0}
    store.save_sequences({0: 90})
    store.forget(0)
    store.save(session_of(0, sequence=1))
    await store._thread.call(store._rows.attempt)
    found = await store.take([0], 4)
    assert found[0].session.sequence == 7
    await store.close()


async def test_what_the_server_missed_is_not_lost_with_the_lease(server, clocks):
    """Who takes its shard again, and nobody had it meanwhile, goes on where it was."""
    store = await opened(server, clocks, lease_s=300.0)
    await store.take([0, 1], 4)
    store.save(session_of(0, sequence=7))
    await until(lambda: store._rows.is_written)
    undo = silence(store)
    store.save_sequences({0: 50})
    store.save(session_of(1, sequence=3))  # READY while the server was away
    clocks.boot_s += 300.0
    assert store.expired() == {0, 1}
    undo()
    found = await store.take([0, 1], 4)
    assert {i: one.session.sequence for i, one in found.items()} == {0: 50, 1: 3}
    await store.close()
    heir = await opened(server)
    assert (await heir.take([0, 1], 4))[0].session.sequence == 50
    await heir.close()


async def test_what_another_process_did_meanwhile_counts(server, clocks):
    """Its session, and its sequence where that is higher."""
    store = await opened(server, clocks, lease_s=0.2)
    await store.take([0, 1], 4)
    store.save(session_of(0, sequence=7))
    store.save(session_of(1, sequence=7))
    await until(lambda: store._rows.is_written)
    undo = silence(store)
    clocks.boot_s += 1.0
    assert store.expired() == {0, 1}
    heir = await opened(server, lease_s=0.2)
    await heir.take([0, 1], 4)
    heir.save_sequences({0: 70})
    new = session_of(1, sequence=2)
    heir.save(replace(new, session=replace(new.session, session_id="another")))
    await heir.close()
    undo()
    found = await store.take([0, 1], 4)
    assert found[0].session.sequence == 70
    assert (found[1].session.session_id, found[1].session.sequence) == ("another", 2)
    await store.close()


async def test_an_answer_that_came_late_is_not_the_last(server):
    """A process stood still while it was told of a lease, which is over by now: it asks again."""
    gone, heir = await opened(server, lease_s=300.0), await opened(server, lease_s=0.2)
    await gone.take([0], 4)
    gone._mine.clear()  # as if it were killed: it renews nothing
    script, told = heir._server.script, []

    def late(name, *args):
        answer = script(name, *args)
        if name == "take" and not told:
            told.append(answer[0])
            with redis.Redis(unix_socket_path=str(server.socket)) as client:
                client.zadd("{fgw}:lease", {"0": 0})
            time.sleep(0.3)  # longer than it waits
        return answer

    heir._server.script = late
    assert await heir.take([0], 4) == {}
    assert told == ["held"]
    await heir.close()
    await gone.close()


async def test_a_frozen_process_hears_that_another_owns_its_shard(server, clocks):
    """Its clock may even stand still, as a snapshot's does: the server says it."""
    store = await opened(server, clocks, lease_s=0.2)
    await store.take([0], 4)
    undo = silence(store)
    heir = await opened(server, lease_s=300.0)
    await heir.take([0], 4)
    undo()
    found = set()
    await until(lambda: found.update(store.expired()) or found == {0})
    await store.close()
    assert await heir._thread.call(lambda: heir._server.script("write", WRITE, renewal(heir)))
    await heir.close()


WRITE = ["lease", "owner", "session", "seq", "seen", "bot"]


def renewal(store):
    """Return what a store says to keep shard 0."""
    return [store._me, 300_000, "", 1, 0]


# ---------------------------------------------------------------------------- the bot


def bot(fake, server):
    """Make a bot of one shard whose lease is short."""
    return gateway_to(fake, store=RedisSessionStore(server.url, lease_s=2.0))


async def test_a_shard_comes_back_by_resume_when_the_server_does(server, caplog):
    """Redis frozen for longer than a lease: out, and in again, without an identify."""
    async with FakeGateway() as fake:
        gateway = bot(fake, server)
        await gateway.start()
        await gateway.wait_ready(scaled(20))
        session_id = gateway.shards[0].session_id
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            await until(lambda: not gateway.shards, 20)
        finally:
            os.kill(server._process.pid, signal.SIGCONT)
        await until(lambda: gateway.shards and gateway.shards[0].status is State.READY, 30)
        assert gateway.shards[0].session_id == session_id
        await gateway.close()
        assert (len(fake.identifies), len(fake.resumes)) == (1, 1)
    assert "the lease of shards 0 is over" in caplog.text


async def test_a_shard_that_another_process_took_stays_there(server, monkeypatch, caplog):
    """The one that was cut off disconnects first and waits; the heir resumes the session."""
    async with FakeGateway() as fake:
        first, heir = bot(fake, server), bot(fake, server)
        await first.start()
        await first.wait_ready(scaled(20))
        store = first._fleet._sessions._store
        await until(lambda: store._rows.is_written)
        undo = silence(store)
        await until(lambda: not first.shards, 20)
        await heir.start()  # waits for the rest of the lease
        await heir.wait_ready(scaled(20))
        undo()
        await until(lambda: "is not taken again yet" in caplog.text, 20)
        assert not first.shards
        await first.close()
        assert heir.shards[0].status is State.READY
        await heir.close()
        assert (len(fake.identifies), len(fake.resumes)) == (1, 1)


async def test_a_shard_whose_lease_is_over_says_nothing_more(server, clocks, caplog):
    """A process that wakes up would send a heartbeat before it looks at its clocks."""
    async with FakeGateway() as fake:
        store = RedisSessionStore(server.url, lease_s=300.0, clock=clocks.clock)
        gateway = gateway_to(fake, store=store)
        await gateway.start()
        await gateway.wait_ready(scaled(20))
        rows = gateway._fleet._sessions._store._rows
        await until(lambda: rows.is_written)  # with READY the lease is renewed, by the clock then
        peer = fake.connection(0).peer
        before = peer.heartbeats
        clocks.boot_s += 300.0  # the next look is in 15 s
        fake.request_heartbeat()
        # It may be taken again before anybody sees that it is out.
        await until(lambda: "the lease of shards 0 is over" in caplog.text, 10)
        await until(lambda: peer.is_closed, 10)
        await gateway.close()
        assert peer.heartbeats == before


async def test_a_bot_can_be_closed_while_its_shards_are_out(server):
    """Nothing waits for the server."""
    async with FakeGateway() as fake:
        gateway = bot(fake, server)
        await gateway.start()
        await gateway.wait_ready(scaled(20))
        server.stop()
        await until(lambda: not gateway.shards, 20)
        await asyncio.wait_for(gateway.close(), scaled(30))
