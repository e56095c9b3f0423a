"""Several `fastgw run --redis` share the shards of one bot out: they join, end, die and freeze."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import urllib.request
from functools import partial

import pytest
from deadline import scaled, until
from fleet_command import PATIENCE_S, is_alive, kill
from ports import keep_port, port_of
from redis_server import needs_redis

import redis
from fastgw.testing import FakeGateway
from fastgw.testing.service.peer import FakePeer
from fastgw.testing.service.session import FakeSession

pytestmark = [
    pytest.mark.redis,
    pytest.mark.one_loop,
    needs_redis,
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at /proc"),
]
SHARDS = 6
LEASE = ("--lease", "4")


@pytest.fixture
async def fake():
    """Serve six shards, each with a key of its own."""
    async with FakeGateway(recommended_shards=SHARDS, max_concurrency=SHARDS) as fake:
        yield fake


class Doubled:
    """
    What the service sees of two owners.

    Attributes:
        shards: whose session was bound to a second connection beside an open one.
        commands: what came on such a first one afterwards, heartbeats too.
    """

    def __init__(self):
        self.shards = []
        self.commands = []


@pytest.fixture(autouse=True)
def doubled(monkeypatch):
    """Watch out for it."""
    found, displaced = Doubled(), []
    bind, receive = FakeSession.bind, FakePeer.receive

    def watched_bind(session, peer):
        if session.peer is not None and session.peer is not peer:
            found.shards.append(session.shard_id)
            displaced.append(session.peer)
        bind(session, peer)

    def watched_receive(peer, command, now):
        if peer in displaced:
            found.commands.append(command)
        receive(peer, command, now)

    monkeypatch.setattr(FakeSession, "bind", watched_bind)
    monkeypatch.setattr(FakePeer, "receive", watched_receive)
    return found


def is_shared(*machines):
    """Tell whether the workers of these run all shards, each its part, and all are READY."""
    workers = [worker for machine in machines for worker in machine.workers]
    parts = [worker["shard_ids"] for worker in workers]
    return (
        all(machine.workers for machine in machines)
        and all(w["pid"] and is_alive(w["pid"]) for w in workers)  # else it was said before
        and sorted(itertools.chain(*parts)) == list(range(SHARDS))
        and max(map(len, parts)) - min(map(len, parts)) <= 1
        and sum(worker["ready"] for worker in workers) == SHARDS
    )


async def shared(*machines):
    """Wait until they have their parts."""
    try:
        await until(lambda: is_shared(*machines) or any(m.has_ended for m in machines), PATIENCE_S)
    except AssertionError as error:
        said = "\n".join(f"{m.workers}\n{m.errors}" for m in machines)
        raise AssertionError(said) from error
    assert not any(machine.has_ended for machine in machines), [m.errors for m in machines]


class Traffic:
    """A message to each shard, again and again; every one of them must arrive."""

    def __init__(self, fake):
        self._fake = fake
        self._count = 0
        self._task = asyncio.create_task(self._send())

    async def _send(self):
        while True:
            for shard_id in range(SHARDS):
                content = {"content": f"{self._count}-{shard_id}"}
                self._fake.dispatch("MESSAGE_CREATE", content, shard_id=shard_id)
            self._count += 1
            await asyncio.sleep(0.05)

    def stop(self):
        self._task.cancel()

    async def all_arrived(self, *machines):
        """Stop, and wait until some machine has seen each of them; return how many came twice."""
        self.stop()
        sent = {f"{i}-{shard_id}" for i in range(self._count) for shard_id in range(SHARDS)}

        def seen():
            return [words[4] for machine in machines for words in machine.lines("event")]

        await until(lambda: sent <= set(seen()), PATIENCE_S)
        return len(seen()) - len(sent)


@pytest.fixture
async def traffic(fake):
    """Return what begins it; it ends with the test."""
    begun = []

    def begin():
        begun.append(Traffic(fake))
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


async def test_who_joins_gets_its_share(fake, machine, traffic, doubled):
    """From one machine to three, by RESUME, and no event comes twice."""
    one = await machine(fake)
    await shared(one)
    messages = traffic()
    other = await machine(fake)
    await shared(one, other)
    third = await machine(fake, "--processes", "2")
    await shared(one, other, third)
    assert await messages.all_arrived(one, other, third) == 0
    assert (len(fake.identifies), doubled.shards) == (SHARDS, [])


async def test_who_ends_hands_its_shards_over(fake, machine, traffic, doubled):
    """SIGTERM: others have them within a second or so, and nobody identifies."""
    one, other = await machine(fake), await machine(fake)
    await shared(one, other)
    messages = traffic()
    one.signal(signal.SIGTERM)
    assert await one.wait_ended() == 0, one.errors
    await shared(other)
    assert await messages.all_arrived(one, other) == 0
    assert (len(fake.identifies), doubled.shards) == (SHARDS, [])


async def test_the_shards_of_who_dies_are_taken_when_its_leases_are_over(
    fake, machine, traffic, doubled
):
    """SIGKILL of all of it; what came meanwhile comes afterwards."""
    one, other = await machine(fake, *LEASE), await machine(fake, *LEASE)
    await shared(one, other)
    messages = traffic()
    await one.kill()
    await shared(other)
    await messages.all_arrived(one, other)
    assert (len(fake.identifies), doubled.shards) == (SHARDS, [])


async def test_who_was_frozen_for_longer_than_its_leases_does_not_speak(
    fake, machine, traffic, doubled
):
    """SIGSTOP: others take its shards; when it wakes it puts them out, and gets its share anew."""
    one, other = await machine(fake, *LEASE), await machine(fake, *LEASE)
    await shared(one, other)
    frozen = one.workers[0]["shard_ids"]
    messages = traffic()
    pids = (one.pid, *one.pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await shared(other)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    await until(lambda: "the lease of shards" in one.errors, PATIENCE_S)
    await shared(one, other)
    await messages.all_arrived(one, other)
    # Nobody else can close a frozen process's socket: the service sees it beside the new one.
    assert sorted(doubled.shards) == sorted(frozen)
    assert doubled.commands == []
    assert len(fake.identifies) == SHARDS


async def test_workers_are_replaced_without_an_identify(fake, machine, traffic, doubled):
    """SIGHUP: each successor joins before the one before hands its shards over."""
    one = await machine(fake, "--processes", "2")
    await shared(one)
    before = set(one.pids)
    messages = traffic()
    one.signal(signal.SIGHUP)
    await until(lambda: "all workers are replaced" in one.errors, PATIENCE_S)
    await until(lambda: before.isdisjoint(w["pid"] for w in one.workers), PATIENCE_S)
    await shared(one)
    assert await messages.all_arrived(one) == 0
    assert (len(fake.identifies), doubled.shards) == (SHARDS, [])


async def test_the_metrics_say_who_shares_what(fake, machine):
    """Of each process: members, its share, what it holds, and what came and went."""
    with keep_port() as kept:
        where = f"127.0.0.1:{port_of(kept)}"
        one = await machine(fake, "--metrics", where)
        await shared(one)
    other = await machine(fake)
    await shared(one, other)

    settled = {
        "members": 2, "share": 3, "held": 3,
        "taken_total": 6, "handed_over_total": 3, "fenced_total": 0,
    }  # fmt: skip

    def ask():
        with urllib.request.urlopen(f"http://{where}/metrics") as answer:
            text = answer.read().decode()
        values = re.findall(r'^fastgw_sharing_(\w+){process="0"} (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in values}

    end = asyncio.get_running_loop().time() + scaled(PATIENCE_S)
    values = {}
    while values != settled | {"answer_age_seconds": values.get("answer_age_seconds")}:
        assert asyncio.get_running_loop().time() < end, values
        await asyncio.sleep(0.1)  # told every fifth second, and a member that stands still is none
        values = await asyncio.to_thread(ask)
    assert values["answer_age_seconds"] >= 0.0


async def test_a_machine_that_counts_otherwise_is_refused(fake, machine):
    """It is told what to write; the others go on."""
    one = await machine(fake)
    await shared(one)
    other = await machine(fake, "--shard-count", "8")
    assert await other.wait_ended() == 1
    assert f"runs this bot with {SHARDS} shards, and here are 8: give --shard-count" in other.errors
    assert is_shared(one)


async def test_what_redis_had_is_what_the_processes_say_again(
    fake, machine, server, traffic, doubled
):
    """Started anew and empty under way: nothing moves, nobody identifies."""
    one, other = await machine(fake, *LEASE), await machine(fake, *LEASE)
    await shared(one, other)
    parts = [sorted(m.workers[0]["shard_ids"]) for m in (one, other)]
    messages = traffic()
    server.stop()
    server.start()
    with redis.Redis(unix_socket_path=str(server.socket)) as client:  # who noticed has said so
        await until(lambda: client.exists("{fgw}:quiet"), PATIENCE_S)
        await until(lambda: not client.exists("{fgw}:quiet"), PATIENCE_S)
    await shared(one, other)
    assert [sorted(m.workers[0]["shard_ids"]) for m in (one, other)] == parts
    await messages.all_arrived(one, other)
    assert (len(fake.identifies), doubled.shards) == (SHARDS, [])


class Redis:
    """What the server says of members and leases: never older than the question."""

    def __init__(self, server):
        self._client = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)

    def close(self):
        self._client.close()

    def member(self, worker):
        """Return as whom a worker has leases, and is a member."""
        who = self._client.hgetall("{fgw}:who")
        mine = f"process {worker['pid']} on "
        return next(me for me, said in who.items() if json.loads(said)["name"].startswith(mine))

    def parts(self):
        """Return member -> how many shards it has a lease on; None for those of no member."""
        seconds, micros = self._client.time()
        now = seconds * 1000 + micros / 1000
        members = self._client.zrangebyscore("{fgw}:member", now, "+inf")
        leased = self._client.zrangebyscore("{fgw}:lease", now, "+inf")
        owners = self._client.hgetall("{fgw}:owner")
        parts = dict.fromkeys(members, 0)
        for shard_id in leased:
            owner = owners.get(shard_id)
            key = owner if owner in parts else None
            parts[key] = parts.get(key, 0) + 1
        return parts

    def misses(self, member):
        """Tell whether that is no member."""
        return member not in self.parts()

    def is_shared(self, count, gone=()):
        """Tell whether so many members have a part of all shards each, and nobody else has one."""
        parts = self.parts()
        return (
            len(parts) == count
            and parts.keys().isdisjoint({None, *gone})
            and sum(parts.values()) == SHARDS
            and max(parts.values()) - min(parts.values()) <= 1
        )


async def frozen(machine, condition):
    """Let a machine stand still until the condition holds."""
    pids = (machine.pid, *(worker["pid"] for worker in machine.workers))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await until(condition, PATIENCE_S)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


DEEDS = ("kill", "end", "worker", "freeze", "nap")


async def test_whatever_befalls_them_nothing_is_lost(fake, machine, server, traffic, doubled):
    """
    Machines and workers die, end and freeze at random, under traffic: no identify, no event less.

    FASTGW_SHARING_ROUNDS says how often, FASTGW_SHARING_SEED which. Each begins when Redis says
    that the one before is over, and all shards are READY again.
    """
    rounds = int(os.environ.get("FASTGW_SHARING_ROUNDS", "5"))
    chance = random.Random(int(os.environ.get("FASTGW_SHARING_SEED", "1")))
    live = [await machine(fake, *LEASE) for _ in range(2)]
    every = list(live)
    await shared(*live)
    messages = traffic()
    shuffled = (deed for _ in itertools.count() for deed in chance.sample(DEEDS, len(DEEDS)))
    with contextlib.closing(Redis(server)) as table:
        for deed in itertools.islice(shuffled, rounds):
            one = chance.choice(live)
            worker = one.workers[0]
            me = table.member(worker)
            if deed == "freeze":  # for longer than its leases
                await frozen(one, lambda: table.is_shared(1))
            elif deed == "nap":  # it is no member any more, and has its leases still
                await frozen(one, partial(table.misses, me))
            elif deed == "worker":
                kill(worker["pid"])
            else:
                one.signal(signal.SIGTERM if deed == "end" else signal.SIGKILL)
                live.remove(one)
                live.append(await machine(fake, *LEASE))
                every.append(live[-1])
            gone = () if deed in ("freeze", "nap") else (me,)
            await until(partial(table.is_shared, len(live), gone), PATIENCE_S)
            await shared(*live)
    await messages.all_arrived(*every)
    assert len(fake.identifies) == SHARDS
    assert doubled.commands == []
