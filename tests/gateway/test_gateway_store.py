"""Sessions that outlive their gateway: deploys, crashes, and what must not be resumed."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path

import pytest
from child_bot import ChildBot
from deadline import scaled, until
from gateways import gateway_to, no_jitter
from inside import drivers
from stored import stored

from fastgw import (
    Intents,
    MemorySessionStore,
    Opcode,
    SQLiteIdentifyQueue,
    SQLiteSessionStore,
    State,
    UsageError,
)
from fastgw.fleet.stores.boot_clock import BootClock
from fastgw.protocol.session import MAX_AGE_S
from fastgw.testing import FakeGateway
from fastgw.testing.conformance.stores import session_of


@pytest.fixture
def store(tmp_path):
    return SQLiteSessionStore(tmp_path / "sessions.sqlite")


def loud(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


async def once(fake, **options):
    """Run a gateway until it is READY, and close it."""
    async with gateway_to(fake, **options) as gateway:
        return gateway


# ---------------------------------------------------------------------------- deploys


async def test_a_deploy_costs_no_identify(fake, store, caplog):
    """Stopped and started anew it resumes, and gets what came meanwhile."""
    got = []
    await once(fake, store=store)
    for number in range(3):
        fake.dispatch("MESSAGE_CREATE", {"content": str(number)})
    gateway = gateway_to(fake, store=store)
    gateway.on("MESSAGE_CREATE")(lambda event: got.append(event.data["content"]))
    async with gateway:
        await until(lambda: len(got) == 3)
    assert got == ["0", "1", "2"]
    assert len(fake.identifies) == 1
    assert len(fake.resumes) == 1
    assert loud(caplog) == []


async def test_nothing_comes_twice_after_a_deploy(fake, store):
    """The last sequence is stored at the end, not only once a second."""
    got = []

    async def run():
        gateway = gateway_to(fake, store=store)
        gateway.on("MESSAGE_CREATE")(lambda event: got.append(event.sequence))
        async with gateway:
            fake.dispatch("MESSAGE_CREATE", {"content": "x"})
            expected = fake.service.session().sequence
            await until(lambda: got and got[-1] == expected)

    for _ in range(5):
        await run()
    assert got == sorted(set(got))
    assert len(got) == 5


@pytest.mark.parametrize(
    ("is_durable", "end_session", "stays"),
    [
        (True, None, True),
        (True, True, False),
        (True, False, True),
        (False, None, False),
        (False, True, False),
        (False, False, True),
    ],
)
async def test_a_stop_keeps_the_session_exactly_when_the_store_is_durable(
    fake, store, is_durable, end_session, stays
):
    """No ghost stays online; an explicit choice wins."""
    gateway = gateway_to(fake, store=store if is_durable else None)
    await gateway.start()
    await gateway.wait_ready()
    await gateway.close(end_session=end_session)
    assert len(fake.service.sessions) == stays
    opened = await store.open(None)
    assert len(await opened.take([0], 1)) == (stays and is_durable)
    await opened.close()


async def test_a_second_gateway_of_the_process_takes_a_session_over(fake):
    """A store in memory lives as long as whoever holds it."""
    store = MemorySessionStore()
    gateway = gateway_to(fake, store=store)
    await gateway.start()
    await gateway.wait_ready()
    await gateway.close(end_session=False)
    await once(fake, store=store)
    assert (len(fake.identifies), len(fake.resumes)) == (1, 1)


async def test_a_shard_moves_to_another_gateway(store):
    """Stopped here and started there, with its session; what runs here stays here."""
    async with FakeGateway(max_concurrency=3) as fake:
        options = {"store": store, "shard_count": 3, "random": no_jitter}
        first = gateway_to(fake, shards=[0, 1], **options)
        second = gateway_to(fake, shards=[2], **options)
        async with first, second:
            with pytest.raises(UsageError, match="shard 1 is run"):
                await second.start_shard(1)
            await first.stop_shard(1)
            shard = await second.start_shard(1)
            await until(lambda: shard.status is State.READY)
            assert shard.is_cold
            await second.stop_shard(1)
            await first.start_shard(1)
            await first.wait_ready()
        assert len(fake.identifies) == 3
        assert len(fake.resumes) == 2


async def test_two_starts_of_a_stopped_shard_make_one(store):
    """One finds it taken, also while the other gives it back and asks the store for it again."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2, store=store) as gateway:
        stopped = gateway.shards[0]
        fake.close(4010, shard_id=0)
        await until(lambda: stopped.status is State.STOPPED)
        both = (gateway.start_shard(0), gateway.start_shard(0))
        refused, started = sorted(
            await asyncio.gather(*both, return_exceptions=True),
            key=lambda result: not isinstance(result, UsageError),
        )
        assert started is gateway.shards[0] is not stopped
        assert isinstance(refused, UsageError)


async def test_a_store_that_fails_keeps_no_session(fake, store, caplog):
    """What could not be stored is ended: nobody would resume it."""
    gateway = gateway_to(fake, store=store)
    await gateway.start()
    await gateway.wait_ready()
    opened = gateway._fleet._sessions._store
    await opened._rows.flush()
    opened._trouble.failed(OSError("the disk is gone"))
    await gateway.close()
    assert fake.service.sessions == {}


# ---------------------------------------------------------------------------- cold resumes


async def test_a_cold_resume_is_told_apart(fake, store):
    """In the status and in the shard, until a session of its own begins."""
    await once(fake, store=store)
    changes = []
    gateway = gateway_to(fake, store=store, random=no_jitter)
    gateway.on_status(changes.append)
    async with gateway:
        shard = gateway.shards[0]
        assert shard.is_cold
        fake.cut()
        await until(lambda: shard.stats().resumes_won == 2)
        assert shard.is_cold
        fake.service.kill_sessions()
        fake.cut()
        await until(lambda: len(fake.identifies) == 2 and shard.status is State.READY, 15.0)
        assert not shard.is_cold
        ready = [change.is_cold_resume for change in changes if change.new is State.READY]
        assert ready == [True, False, False]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["READY"], "no READY comes"),
        (["READY", "GUILD_CREATE"], "no READY and no GUILD_CREATE comes"),
        (["MESSAGE_CREATE", "*"], None),
    ],
)
async def test_handlers_that_will_wait_in_vain_are_told(fake, store, caplog, names, said):
    """One WARNING, with what to do; not at the first start, when they come."""
    for start in range(2):
        gateway = gateway_to(fake, store=store)
        gateway.on(*names)(lambda event: None)
        async with gateway:
            pass
        expected = start == 1 and said is not None
        assert len(loud(caplog)) == expected
    if said is not None:
        assert said in caplog.text
        assert "keeps its sessions in memory" in caplog.text


async def test_a_refused_cold_resume_is_normal(fake, store, caplog):
    """The session went meanwhile: a new one begins, and nobody is alarmed."""
    await once(fake, store=store)
    fake.service.kill_sessions()
    await once(fake, store=store, random=no_jitter)
    assert (len(fake.identifies), len(fake.resumes)) == (2, 1)
    assert loud(caplog) == []


async def test_a_session_that_is_too_old_is_not_tried(fake, store, caplog):
    """Five minutes later it is gone; no connection is made for nothing."""
    await once(fake, store=store)
    real = store._clock
    later = BootClock(real.boot_id, lambda: real.boot() + MAX_AGE_S + 20.0)
    await once(fake, store=SQLiteSessionStore(store._path, clock=later))
    assert (len(fake.identifies), len(fake.resumes), len(fake.upgrades)) == (2, 0, 2)


async def test_a_session_grows_old_while_the_network_is_down(fake, store):
    """Its age counts from when it was last seen, not from the start of this process."""
    await once(fake, store=store)
    real = store._clock
    later = BootClock(real.boot_id, lambda: real.boot() + MAX_AGE_S - 20.0)
    gateway = gateway_to(fake, store=SQLiteSessionStore(store._path, clock=later))
    fake.refuse_upgrade(503, times=None)
    await gateway.start()
    keeper = drivers(gateway)[0]._protocol._keeper
    loop_now = asyncio.get_running_loop().time()
    assert keeper.last_byte_at == pytest.approx(loop_now - MAX_AGE_S + 20.0, abs=scaled(5.0))
    await gateway.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intents": Intents.GUILDS}, "intents (53608447 -> 1) changed"),
        ({"large_threshold": 100}, "large_threshold (50 -> 100) changed"),
        ({"identify_extra": {"x": 1}}, "identify_extra changed"),
    ],
)
async def test_what_identify_fixed_begins_a_new_session(fake, store, caplog, change, said):
    """Paced and counted like any other, with one line that names what changed."""
    caplog.set_level(logging.INFO)
    await once(fake, store=store)
    gateway = await once(fake, store=store, **change)
    assert (len(fake.identifies), len(fake.resumes)) == (2, 0)
    assert caplog.text.count(said) == 1
    assert gateway.stats().shards[0].identifies == 1


async def test_another_shard_count_begins_a_new_session(fake, store, caplog):
    """case 42: the stored one is of another split of the guilds."""
    await once(fake, store=store)
    await once(fake, store=store, shards=[0], shard_count=2)
    assert (len(fake.identifies), len(fake.resumes)) == (2, 0)
    assert "holds sessions of 1 shards; there are 2 now" in caplog.text


async def test_presence_alone_is_sent_after_a_resume(fake, store):
    """It belongs to no session, and op 3 says it."""
    await once(fake, store=store)
    presence = {"status": "idle", "activities": [], "since": None, "afk": False}
    async with gateway_to(fake, store=store, presence=presence):
        command = await fake.wait_command(Opcode.PRESENCE_UPDATE)
        assert command.data == presence
        fake.cut()
        await until(lambda: len(fake.resumes) == 2)
    assert len(fake.identifies) == 1


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", ["sessions.sqlite", Path("x"), 5, object()])
def test_a_store_is_asked_for(fake_info, bad):
    """A path alone is not one, and the text says what is."""
    with pytest.raises(UsageError, match="SQLiteSessionStore"):
        gateway_to(fake_info, store=bad)


@pytest.fixture
def fake_info():
    return FakeGateway()


async def test_another_bots_store_ends_the_start(fake, store):
    """Before anything is opened."""
    opened = await store.open(None)
    await opened.take([0], 1)
    opened.save(session_of(0, shard_count=1))
    await opened.close()
    gateway = gateway_to(fake, store=store, token="NDE3NzE5ODM0MjMxNDM5MzcxMQ.x.y")
    with pytest.raises(UsageError, match="this is bot 4177198342314393711"):
        await gateway.start()
    with pytest.raises(UsageError, match="this is bot"):
        await gateway.wait_closed()
    assert fake.upgrades == []


async def test_two_gateways_on_one_store(fake, store):
    """The second is refused, and the first goes on."""
    async with gateway_to(fake, store=store) as first:
        second = gateway_to(fake, store=SQLiteSessionStore(store._path))
        with pytest.raises(UsageError, match=rf"shard 0 is run .*process {os.getpid()} on"):
            await second.start()
        assert first.health().is_ready
    await once(fake, store=store)
    assert len(fake.identifies) == 1


async def test_closed_while_the_store_is_opened(fake, store):
    """Nothing stays open, and nothing was connected."""
    gateway = gateway_to(fake, store=store)
    starting = asyncio.create_task(gateway.start())
    await asyncio.sleep(0)
    await gateway.close()
    with pytest.raises(UsageError, match="closed while it was starting"):
        await starting
    assert fake.upgrades == []


# ---------------------------------------------------------------------------- crashes


async def crash_again_and_again(fake, path, times, seed):
    """Kill a bot at random while events come; return what all of its lives saw."""
    chance = random.Random(seed)
    seen = []

    async def traffic():
        while True:
            if fake.service.sessions:
                fake.dispatch("MESSAGE_CREATE", {"content": "x"})
            await asyncio.sleep(0.001)

    feed = asyncio.create_task(traffic())
    try:
        for life in range(times + 1):
            bot = ChildBot("gateway_child.py", fake.url, str(path))
            await bot.start()
            await until(bot.is_ready, 30.0)
            await until(lambda: stored(path), 30.0)
            if life == times:  # the last one catches up
                feed.cancel()
                last = fake.service.session().sequence
                await until(lambda bot=bot, last=last: last in bot.numbers("event"), 30.0)
            else:
                await asyncio.sleep(chance.random() * 1.5)
            await bot.kill()
            seen.append(bot)
    finally:
        feed.cancel()
    return seen


def check_lives(fake, lives):
    """One identify in all, every event in some life, duplicates only across a kill."""
    assert len(fake.identifies) == 1
    assert len(fake.resumes) == len(lives) - 1
    for number, bot in enumerate(lives):
        sequences = bot.numbers("event")
        assert sequences == sorted(set(sequences))  # none twice within a life
        assert ["status", "READY", str(number > 0)] in bot.lines
    every = {sequence for bot in lives for sequence in bot.numbers("event")}
    events = {number for number, message in fake.service.session().log if b"MESSAGE_CRE" in message}
    assert events <= every


@pytest.mark.one_loop
async def test_a_crash_loses_nothing_and_costs_no_identify(fake, tmp_path):
    """SIGKILL at random: the next process resumes; a sync handler misses nothing."""
    lives = await crash_again_and_again(fake, tmp_path / "s", 3, seed=1)
    check_lives(fake, lives)


@pytest.mark.many
@pytest.mark.one_loop
@pytest.mark.timeout(900)
async def test_forty_crashes(fake, tmp_path):
    """The same, longer; FASTGW_SOAK_SEED repeats the moments drawn."""
    seed = int(os.environ.get("FASTGW_SOAK_SEED", "1"))
    check_lives(fake, await crash_again_and_again(fake, tmp_path / "s", 40, seed=seed))


async def test_processes_with_a_store_and_a_queue_in_one_file(fake, tmp_path):
    """Both live in it, beside each other."""
    path = tmp_path / "both.sqlite"
    for _ in range(2):
        queue = SQLiteIdentifyQueue(path, interval_s=0.02, padding_s=(0.0, 0.0))
        await once(fake, store=SQLiteSessionStore(path), identify_queue=queue)
    assert (len(fake.identifies), len(fake.resumes)) == (1, 1)
