"""From a gateway's socket through Redis to the handlers of a consumer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to, quick_queue
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

import fastgw
from fastgw.redis import Consumer, Publisher
from fastgw.redis.streams import EventStreams
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of the file; each has a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def prefix(request):
    """The keys of one bot."""
    return request.node.name


@pytest.fixture
def consumer(server, prefix):
    """Make a consumer of the group `bot`."""

    def make(**options):
        # A lease is longer than a busy machine stands still.
        options = {"group": "bot", "shards": 1, "lease_s": 3.0, **options}
        return Consumer(server.url, prefix=prefix, **options)

    return make


def message(number, **more):
    return {"id": str(number), "guild_id": "7", "n": number, **more}


async def test_events_reach_the_handlers_of_a_consumer(server, prefix, consumer):
    """In order, with their names, sequences and data, behind the mark of the session."""
    got, resets = [], []
    bot = consumer()
    bot.on("MESSAGE_CREATE")(lambda event: got.append((event.sequence, event.data["n"])))
    bot.on("SESSION_RESET")(lambda event: resets.append(event.name))
    async with bot, FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher):
            for number in range(200):
                fake.dispatch("MESSAGE_CREATE", message(number))
            await until(lambda: len(got) == 200)
    assert [n for _, n in got] == list(range(200))
    assert [sequence for sequence, _ in got] == sorted(sequence for sequence, _ in got)
    assert resets == ["SESSION_RESET"]


async def test_only_what_a_group_wants_is_appended(server, prefix, consumer):
    """Names and filters travel to the publisher, which drops the rest in the scanner."""
    got = []
    bot = consumer()
    human = ~fastgw.field("author.bot").is_true()
    bot.on("MESSAGE_CREATE", where=human)(lambda event: got.append(event.data["n"]))
    async with bot, FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher):
            for number in range(40):
                fake.dispatch("MESSAGE_CREATE", message(number, author={"bot": number % 4 != 0}))
                fake.dispatch("TYPING_START", {"guild_id": "7"})
            await until(lambda: got == list(range(0, 40, 4)))
    assert publisher.appended == 10


async def test_what_is_published_is_no_wish_of_the_program(server, prefix, consumer):
    """Nobody is warned for it that sessions of a store bring no READY."""
    bot = consumer()
    bot.on("READY", "GUILD_CREATE")(lambda event: None)
    async with bot, FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher) as gateway:
            assert gateway._handlers.target_of("GUILD_CREATE") is not None
            assert gateway._handlers.wanted_by_name(("READY", "GUILD_CREATE")) == []


async def test_handlers_that_hang_hold_up_no_group(server, prefix, consumer):
    """What appends events is no handler, and stands in no line with those of the gateway."""
    got, begun, gate = [], [], asyncio.Event()
    bot = consumer()
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))

    async def hang(event):
        begun.append(event)
        await gate.wait()

    async with bot, FakeGateway() as fake:
        limits = fastgw.DeliveryLimits(running=1)
        gateway = gateway_to(fake, publish=Publisher(server.url, prefix=prefix), limits=limits)
        gateway.on("TYPING_START")(hang)
        async with gateway:
            fake.dispatch("TYPING_START", {"guild_id": "7"})
            await until(lambda: begun and gateway.health().handlers_running == 1)
            for number in range(3):
                fake.dispatch("MESSAGE_CREATE", message(number))
            await until(lambda: got == [0, 1, 2])
            gate.set()


async def test_interests_are_followed_at_run_time(server, prefix, consumer):
    """A handler that is registered later gets its events without anybody being restarted."""
    got = []
    bot = consumer()
    async with bot, FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher):
            bot.on("MESSAGE_DELETE")(lambda event: got.append(event.name))

            def has_arrived():
                fake.dispatch("MESSAGE_DELETE", message(1))
                return got

            await until(has_arrived, 10.0)


async def test_what_a_dead_consumer_did_not_finish_comes_first(server, prefix, consumer):
    """Its mailbox is leased anew; unfinished events come again, in order, before new ones."""
    dead, started = consumer(), []

    @dead.on("MESSAGE_CREATE")
    async def hang(event):
        started.append(event.data["n"])
        await asyncio.sleep(3600)

    async with FakeGateway() as fake:
        await dead.start()
        async with gateway_to(fake, publish=Publisher(server.url, prefix=prefix)):
            for number in range(5):
                fake.dispatch("MESSAGE_CREATE", message(number))
            await until(lambda: started == list(range(5)))
            dead._is_closing = True  # as if it was killed: nothing is given back
            dead._task.cancel()
            await asyncio.wait((dead._task,))
            leases = dead._streams.key("group", "bot", "leases")
            await dead._streams.client.zadd(leases, {"0": 0})  # its lease is over
            got, bot = [], consumer()
            bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
            async with bot:
                for number in range(5, 10):
                    fake.dispatch("MESSAGE_CREATE", message(number))
                await until(lambda: len(got) >= 10)
            assert got == list(range(10))
    dead.drain_s = 0.0
    dead._handlers.end()
    await dead._handlers.tasks.drain(0.0)
    await dead._streams.close()


async def test_finished_events_never_come_again(server, prefix, consumer):
    """A consumer that follows one that was closed begins behind what that one handled."""
    first, got = consumer(), []
    first.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    async with FakeGateway() as fake:
        await first.start()
        async with gateway_to(fake, publish=Publisher(server.url, prefix=prefix)):
            for number in range(20):
                fake.dispatch("MESSAGE_CREATE", message(number))
            await until(lambda: len(got) == 20)
            await first.close()
            second = consumer()
            second.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
            async with second:
                fake.dispatch("MESSAGE_CREATE", message(20))
                await until(lambda: len(got) == 21)
    assert got == list(range(21))


async def test_two_consumers_share_the_shards(server, prefix, consumer):
    """Each mailbox is one's; a member that comes later gets its share, and order holds."""
    got = {}

    def count(event):
        got.setdefault(event.shard_id, []).append(event.data["n"])

    one, two = (consumer(shards=4) for _ in range(2))
    one.on("MESSAGE_CREATE")(count)
    two.on("MESSAGE_CREATE")(count)
    async with one, FakeGateway(recommended_shards=4, max_concurrency=4) as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher, shards=4, identify_queue=quick_queue(4)):
            await until(lambda: one.shard_ids == (0, 1, 2, 3))
            async with two:
                for number in range(100):
                    for shard_id in range(4):
                        fake.dispatch("MESSAGE_CREATE", message(number), shard_id=shard_id)
                await until(lambda: sum(map(len, got.values())) == 400, 20.0)
                await until(lambda: len(one.shard_ids) == len(two.shard_ids) == 2, 20.0)
                assert set(one.shard_ids) | set(two.shard_ids) == {0, 1, 2, 3}
    assert got == {shard_id: list(range(100)) for shard_id in range(4)}


async def test_nothing_is_lost_or_doubled_while_redis_is_away(server, prefix, consumer, tmp_path):
    """Events wait for the server, which keeps what it has, and then come once and in order."""
    own = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    got, bot = [], Consumer(own.url, group="bot", shards=1, prefix=prefix, lease_s=3.0)
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    try:
        async with bot, FakeGateway() as fake:
            publisher = Publisher(own.url, prefix=prefix)
            async with gateway_to(fake, publish=publisher):
                for number in range(50):
                    fake.dispatch("MESSAGE_CREATE", message(number))
                await until(lambda: len(got) == 50)
                await asyncio.to_thread(own.stop)
                for number in range(50, 100):
                    fake.dispatch("MESSAGE_CREATE", message(number))
                await asyncio.to_thread(own.start)
                await until(lambda: len(set(got)) == 100, 20.0)
    finally:
        own.stop()
    assert list(dict.fromkeys(got)) == list(range(100))
    assert publisher.appended == 100


@pytest.mark.parametrize("forgets_claim", [False, True])
async def test_a_server_that_lost_events_is_refilled_by_resume(
    server, prefix, consumer, forgets_claim
):
    """The shard resumes from what is left, and no IDENTIFY is spent."""
    got, bot = [], consumer()
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    async with FakeGateway() as fake, bot:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher):
            for number in range(10):
                fake.dispatch("MESSAGE_CREATE", message(number))
            await until(lambda: len(got) == 10)
            key = bot._streams.shard(0)
            tail = int(await bot._streams.client.hget(key, "seq"))
            await bot._streams.client.hset(key, "seq", tail - 4)  # as a failover would leave it
            if forgets_claim:  # who wrote is older than what it wrote
                await bot._streams.client.hset(key, "claim", 1)
            stream = bot._streams.mailbox("bot", 0)
            await bot._streams.client.delete(stream)  # its top id goes with it
            fake.dispatch("MESSAGE_CREATE", message(10))
            await until(lambda: got[-1] == 10)
    assert list(dict.fromkeys(got)) == list(range(11))
    assert publisher.tails_lost == 1
    assert len(fake.identifies) == 1
    assert len(fake.resumes) == 1


async def test_a_second_gateway_fences_the_first(server, prefix, consumer):
    """Who begins to append a shard's events is the only one; the other stops that shard."""
    bot, got = consumer(), []
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    async with bot, FakeGateway() as fake:
        first, second = (Publisher(server.url, prefix=prefix) for _ in range(2))
        async with gateway_to(fake, publish=first) as old:
            fake.dispatch("MESSAGE_CREATE", message(0))
            await until(lambda: got == [0])
            async with gateway_to(fake, publish=second):
                await until(lambda: second._runs[0][0].claim is not None)
                fake.dispatch("MESSAGE_CREATE", message(1))
                await until(lambda: got == [0, 1])
                await until(lambda: old.shards[0].status is fastgw.State.STOPPED)
    assert first.fenced == 1


async def test_entries_that_are_there_again_are_handled_again(server, prefix, consumer):
    """A server that lost a removal does not keep the entry for ever; what it lost is no hole."""
    got, bot = [], consumer()
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    publisher = Publisher(server.url, prefix=prefix)
    async with bot, FakeGateway() as fake, gateway_to(fake, publish=publisher):
        client, key = bot._streams.client, bot._streams.mailbox("bot", 0)
        for number in range(3):
            fake.dispatch("MESSAGE_CREATE", message(number))
        await until(lambda: len(got) == 3)
        await until(lambda: bot._mailboxes[0].is_idle)
        epoch = bot._mailboxes[0].last.partition(b"-")[0].decode()
        await client.delete(key)  # its top id goes with it
        data = b'{"id":"1","n":99}'
        await client.xadd(key, {"t": "MESSAGE_CREATE", "d": data}, id=f"{epoch}-1")
        await until(lambda: got[-1] == 99, 10.0)
    assert got == [0, 1, 2, 99]


async def test_a_server_that_forgot_everything_is_told_again(server, prefix):
    """The group and what it wants are there again without a restart."""
    consumer = Consumer(server.url, group="bot", shards=1, prefix=prefix, lease_s=0.9)
    consumer.on("MESSAGE_CREATE")(lambda event: None)
    await consumer.start()
    await until(lambda: consumer.shard_ids)
    client = consumer._streams.client
    await client.flushall()

    async def is_told():
        key = consumer._streams.key
        return await client.hexists(key("groups"), "bot")

    for _ in range(200):
        if await is_told():
            break
        await asyncio.sleep(0.05)
    assert await is_told()
    await consumer.close()


async def test_a_mailbox_that_was_to_leave_is_read_again(server, prefix):
    """Whether it left, or others became idle first."""
    one, other = (
        Consumer(server.url, group="bot", shards=4, prefix=prefix, lease_s=60) for _ in range(2)
    )
    for consumer in (one, other):
        consumer._streams.open()
        await consumer._streams.load("lease", "give_back")
    await one._lease(time.monotonic())
    await other._lease(time.monotonic())
    for mailbox in one._mailboxes.values():
        mailbox.taken.append((1, b"1-1", 0))
    await one._lease(time.monotonic())
    assert any(mailbox.is_leaving for mailbox in one._mailboxes.values())
    for mailbox in one._mailboxes.values():
        mailbox.taken.clear()
    for consumer in (one, other, one):
        await consumer._lease(time.monotonic())
    both = [*one._mailboxes.values(), *other._mailboxes.values()]
    assert len(both) == 4
    assert not any(mailbox.is_leaving for mailbox in both)
    for consumer in (one, other):
        await consumer._streams.close()


async def test_a_shard_that_was_elsewhere_is_published_again(server, prefix, consumer):
    """It begins with a claim of its own, after the one that it had."""
    bot = consumer()
    bot.on("MESSAGE_CREATE")(lambda event: None)
    async with bot, FakeGateway() as fake:
        gateway = gateway_to(
            fake, identify_queue=quick_queue(1), publish=Publisher(server.url, prefix=prefix)
        )
        async with gateway:
            fake.dispatch("MESSAGE_CREATE", message(1))
            await until(lambda: gateway._fleet._options.publish.appended)
            publisher = gateway._fleet._options.publish
            shard = gateway.shards[0]
            publisher._shards.is_here = lambda shard_id: False
            await until(lambda: not publisher._runs)  # as if the shard had left
            del publisher._shards.is_here
            await publisher._streams.run(
                "begin",
                [publisher._streams.shard(0), *publisher._mailboxes(0)],
                [shard.session_id, 0, 10**14],
            )  # another process has it meanwhile
            before = publisher.appended
            fake.dispatch("MESSAGE_CREATE", message(2))
            await until(lambda: publisher.appended > before)
            assert publisher.fenced == 0


@pytest.fixture
def own(tmp_path):
    """A server that nobody else is connected to."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def connections(server):
    """How many the server has, this one not counted."""
    streams = EventStreams(server.url, "count")
    streams.open()
    found = await streams.client.client_list()
    await streams.close()
    return len(found) - 1


async def cancelled(start, has_begun):
    """Begin to start, and cancel that when it has come so far."""
    task = asyncio.ensure_future(start)
    await until(has_begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_consumer_whose_start_is_cancelled_leaves_no_connection(own, monkeypatch):
    """A program that is interrupted while it starts has nothing to close: no endpoint either."""
    bot, asked = Consumer(own.url, group="bot", shards=1, metrics="127.0.0.1:0"), asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(bot, "_tell", hang)
    await cancelled(bot.start(), asked.is_set)
    assert await connections(own) == 0
    assert bot._figures._endpoint is None
    assert "fastgw loop watch" not in {thread.name for thread in threading.enumerate()}


async def test_a_publisher_whose_start_is_cancelled_leaves_no_connection(own, monkeypatch):
    """As when the gateway's start was."""
    publisher, asked = Publisher(own.url), asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(publisher, "_follow", hang)
    async with FakeGateway() as fake:
        gateway = gateway_to(fake, publish=publisher)
        await cancelled(gateway.start(), asked.is_set)
        await gateway.close()
    assert await connections(own) == 0


async def test_a_publisher_ends_whatever_redis_py_swallows(server, prefix, monkeypatch):
    """Nothing follows the groups behind the close, which would connect again."""
    monkeypatch.setattr("fastgw.redis.publisher.POLL_S", 0.001)
    publisher, asked = Publisher(server.url, prefix=prefix), asyncio.Event()

    async def swallow():
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    async with FakeGateway() as fake, gateway_to(fake, publish=publisher):
        monkeypatch.setattr(publisher, "_follow", swallow)
        await until(asked.is_set)
    assert publisher._poll.done()


async def test_more_mailboxes_than_are_read_at_once_are_all_read(prefix, consumer, monkeypatch):
    """Each in its turn, also where none of them ever holds anything up."""
    monkeypatch.setattr("fastgw.redis.consumer.MAX_SHARDS", 2)
    got = []
    bot = consumer(shards=5, lease_s=5.0)
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.shard_id))
    async with bot:
        for round_ in (1, 2):
            for shard_id in range(5):
                key = bot._streams.mailbox("bot", shard_id)
                await bot._streams.client.xadd(
                    key, {"t": "MESSAGE_CREATE", "d": "{}"}, id=f"1-{round_}"
                )
            await until(lambda due=5 * round_: len(got) == due)
    assert sorted(got) == sorted(2 * [*range(5)])


async def test_a_close_that_is_cancelled_gives_the_mailboxes_back(prefix, consumer):
    """And who closes it once more waits until that is done."""
    bot = consumer(lease_s=30.0)
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    @bot.on("MESSAGE_CREATE")
    async def slow(_):
        has_begun.set()
        await may_end.wait()

    await bot.start()
    streams = bot._streams
    await streams.client.xadd(
        streams.mailbox("bot", 0), {"t": "MESSAGE_CREATE", "d": "{}"}, id="1-1"
    )
    await has_begun.wait()
    closing = asyncio.ensure_future(bot.close())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.wait((closing,))
    asyncio.get_running_loop().call_later(0.1, may_end.set)
    await bot.close()
    async with consumer(lease_s=30.0) as other:
        await until(lambda: other.shard_ids == (0,))
        assert await other._streams.client.xlen(streams.mailbox("bot", 0)) == 0


async def test_a_lease_whose_answer_nobody_waited_for_is_given_back(consumer, monkeypatch):
    """Closed while it asked: the server had given it, and the next one would wait for its end."""
    bot, given = consumer(lease_s=300.0), asyncio.Event()
    run = bot._streams.run

    async def slow(name, keys, arguments):
        answer = await run(name, keys, arguments)
        if name == "lease":
            given.set()
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(bot._streams, "run", slow)
    await bot.start()
    await asyncio.wait_for(given.wait(), scaled(10.0))
    await bot.close()
    async with consumer(lease_s=300.0) as heir:
        await until(lambda: heir.shard_ids == (0,))
