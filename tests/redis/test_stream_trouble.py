"""What may be wrong with the Redis of streams: one clear error at the start, a loud wait later."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import threading

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw import UsageError
from fastgw.redis import Consumer, Publisher, RedisSessionStore
from fastgw.testing import FakeGateway
from fastgw.testing.service.identify import BOT_ID

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]
SECRET = "very-secret-word"


def free_port():
    """Return a port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    """A server of this test's own, which it may ruin."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def command(server, *words):
    """Say something to a server as somebody else does."""
    import redis

    with contextlib.closing(redis.Redis.from_url(server.url, decode_responses=True)) as client:
        return client.execute_command(*words)


async def consume(url):
    """Start a consumer, and close it."""
    async with Consumer(url, group="bot", shards=1):
        pass


def token_of(bot_id):
    """Return a token that says whose it is."""
    return base64.b64encode(str(bot_id).encode()).decode().rstrip("=") + ".a.b"


async def publish(url, bot_id=123456789012345678):
    """Start a gateway that publishes, and close it."""
    options = {"publish": Publisher(url), "token": token_of(bot_id)}
    async with FakeGateway() as fake, gateway_to(fake, **options):
        pass


both = pytest.mark.parametrize("start", [consume, publish])


async def refused(start, url, says):
    """Start it: it is refused with these words, and without the password."""
    with pytest.raises(UsageError, match=says) as raised:
        await start(url)
    assert SECRET not in f"{raised.value} {raised.value.__cause__!r}"


@both
async def test_no_server_is_one_clear_error(start):
    """It names the server."""
    port = free_port()
    await refused(start, f"redis://user:{SECRET}@127.0.0.1:{port}", rf"127\.0\.0\.1:{port}")


@both
async def test_a_wrong_password_is_refused_without_showing_it(start, tmp_path):
    """And so is none."""
    server = RedisServer(tmp_path, "--requirepass", "right")
    try:
        for url in (server.url, f"unix://:{SECRET}@{server.socket}"):
            await refused(start, url, "refuses the user or the password")
    finally:
        server.stop()


def old_server(listening):
    """Answer as a Redis 6.2 would, for as long as somebody asks."""
    info = b"# Server\r\nredis_version:6.2.14\r\n"
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listening.accept()
            with sock, contextlib.suppress(OSError):
                while asked := sock.recv(65_536):
                    for word in asked.split(b"*")[1:]:
                        is_info = b"INFO\r\n" in word.upper()
                        sock.sendall(
                            b"$%d\r\n%s\r\n" % (len(info), info) if is_info else b"+OK\r\n"
                        )


@both
async def test_a_server_that_is_too_old_is_refused(start):
    """Scripts rely on 7.0."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=old_server, args=(listening,), daemon=True).start()
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}?protocol=2"
        await refused(start, url, r"is Redis 6\.2\.14; fastgw needs 7\.0")
        listening.shutdown(socket.SHUT_RDWR)


@both
async def test_a_server_that_may_not_be_written_is_refused(start, tmp_path):
    """A replica."""
    server = RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(free_port()))
    try:
        await refused(start, server.url, r"(?i)read.?only")
    finally:
        server.stop()


@both
async def test_another_programs_keys_are_named(start, server):
    """Somebody else uses the prefix."""
    command(server, "SET", "{fgw}:groups", "x")
    command(server, "RPUSH", "{fgw}:bot", "x")
    await refused(start, server.url, r"something else under the keys \{fgw\}")


@both
async def test_a_certificate_that_nobody_vouches_for_is_refused(start):
    """rediss:// verifies."""
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                sock, _ = listening.accept()
                context.wrap_socket(sock, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        await refused(start, f"rediss://127.0.0.1:{port}", "certificate")
        thread.join(scaled(5.0))


async def test_two_bots_do_not_share_a_prefix(server):
    """Their shards would fence each other; sessions and streams are of one bot."""
    await publish(server.url)
    with pytest.raises(UsageError, match="streams of bot 123456789012345678 under this prefix"):
        await publish(server.url, 223456789012345678)
    with pytest.raises(UsageError, match="bot"):
        await RedisSessionStore(server.url).open(223456789012345678)


def consumer_of(server, got, shards=1):
    bot = Consumer(server.url, group="bot", shards=shards, lease_s=3.0)
    bot.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    return bot


async def test_another_number_of_shards_is_refused_and_said(server, caplog):
    """A consumer of fewer would leave mailboxes unread for ever; ids of some are a choice."""
    async with FakeGateway(recommended_shards=3, max_concurrency=3) as fake:
        early = consumer_of(server, [], shards=2)
        async with early, gateway_to(fake, shards=3, publish=Publisher(server.url)):
            await until(lambda: "start all of its consumers with shards=3" in caplog.text)
            with pytest.raises(UsageError, match="the bot has 3 shards, and this consumer"):
                await consumer_of(server, [], shards=4).start()
            async with consumer_of(server, [], shards=[1]), consumer_of(server, [], shards=3):
                pass
    assert caplog.text.count("start all of its consumers") == 1


async def flow(server, fake, got, first):
    """Have some events arrive, from `first` on."""
    for number in range(first, first + 5):
        fake.dispatch("MESSAGE_CREATE", {"n": number})
    await until(lambda: len(got) == first + 5)


async def test_an_outage_is_said_once_by_each_side_and_so_is_its_end(tmp_path, caplog):
    """With the server, what waits, and that it is tried again; not with the password."""
    server = RedisServer(tmp_path, "--requirepass", SECRET)
    url, shown = f"unix://:{SECRET}@{server.socket}", f"unix://{server.socket}"
    consumer = Consumer(url, group="bot", shards=1, lease_s=3.0)
    consumer.on("MESSAGE_CREATE")(lambda event: None)
    try:
        async with (
            consumer,
            FakeGateway() as fake,
            gateway_to(fake, publish=Publisher(url)),
        ):
            server.stop()
            consumer.set_presence({"status": "idle", "afk": False, "since": None, "activities": []})
            await until(lambda: "events wait in memory" in caplog.text)
            await until(lambda: "events wait there" in caplog.text)
            server.start()
            await until(lambda: f"{shown} is there again: events are appended" in caplog.text)
            await until(lambda: f"{shown} is there again: events are taken" in caplog.text)
    finally:
        server.stop()
    said = [r.getMessage() for r in caplog.records if r.name == "fastgw.streams"]
    begun = [line for line in said if line.startswith("the Redis of event streams cannot be used")]
    assert len(begun) == 2
    for line in begun:
        assert f"({shown}: " in line
        assert "), which is tried again: " in line
    assert caplog.text.count("is there again") == 2
    assert "presence" not in caplog.text  # which waits, too
    assert SECRET not in caplog.text


async def test_an_outage_without_an_event_is_said(server, caplog):
    """Nothing has to come for somebody to notice that nothing could be appended."""
    async with FakeGateway() as fake, gateway_to(fake, publish=Publisher(server.url)):
        server.stop()
        await until(lambda: "events wait in memory" in caplog.text)
        server.start()
        await until(lambda: "is there again: events are appended" in caplog.text)


async def test_scripts_that_the_server_forgot_are_sent_again(server):
    """SCRIPT FLUSH: nothing is lost, and nobody says anything."""
    got = []
    async with (
        consumer_of(server, got),
        FakeGateway() as fake,
        gateway_to(fake, publish=Publisher(server.url)),
    ):
        await flow(server, fake, got, 0)
        command(server, "SCRIPT", "FLUSH")
        await flow(server, fake, got, 5)
    assert got == list(range(10))


async def test_a_full_server_is_said_and_waited_for(server, caplog):
    """maxmemory, and nothing that it may evict: events wait here, and none is lost."""
    got = []
    async with consumer_of(server, got), FakeGateway() as fake:
        publisher = Publisher(server.url)
        async with gateway_to(fake, publish=publisher):
            await flow(server, fake, got, 0)
            command(server, "CONFIG", "SET", "maxmemory", "1")
            for number in range(5, 10):
                fake.dispatch("MESSAGE_CREATE", {"n": number})
            await until(lambda: "events wait in memory" in caplog.text)
            await until(lambda: publisher.health().waiting == 5)  # one alone may have been tried
            command(server, "CONFIG", "SET", "maxmemory", "0")
            await until(lambda: len(got) == 10)
    assert got == list(range(10))
    assert "maxmemory" in caplog.text


async def test_a_mailbox_of_another_type_is_said_and_waited_for(server, caplog):
    """Whoever put something there may take it away: events wait, and none is lost."""
    got = []
    async with consumer_of(server, got), FakeGateway() as fake:
        publisher = Publisher(server.url)
        async with gateway_to(fake, publish=publisher):
            await flow(server, fake, got, 0)
            await until(lambda: command(server, "XLEN", "{fgw}:mailbox:bot:0") == 0)
            command(server, "SET", "{fgw}:mailbox:bot:0", "x")
            for number in range(5, 10):
                fake.dispatch("MESSAGE_CREATE", {"n": number})
            await until(lambda: "events wait in memory" in caplog.text)
            await asyncio.to_thread(command, server, "DEL", "{fgw}:mailbox:bot:0")
            await until(lambda: len(got) == 10)
    assert got == list(range(10))
    assert "something else under the keys {fgw}" in caplog.text


async def test_a_publisher_that_opens_while_its_gateway_closes_ends(server, fake):
    """Else it would say for ever that it takes commands, for a gateway that is gone."""
    opening, go_on = asyncio.Event(), asyncio.Event()
    before = asyncio.all_tasks()

    class Slow(Publisher):
        async def open(self, handlers, shards):
            opening.set()
            await go_on.wait()
            await super().open(handlers, shards)

    gateway = gateway_to(fake, publish=Slow(server.url))
    starting = asyncio.create_task(gateway.start())
    await asyncio.wait_for(opening.wait(), scaled(10.0))
    await gateway.close()
    go_on.set()
    with pytest.raises(UsageError, match="closed while it was starting"):
        await starting
    await until(lambda: asyncio.all_tasks() == before)
    assert command(server, "HGETALL", "{fgw}:owners") == {}


async def test_streams_are_bound_at_ready_where_the_token_says_no_bot(server):
    """As the stores are: the next one with another bot is refused at its start."""
    publisher = Publisher(server.url)
    async with FakeGateway() as fake, gateway_to(fake, publish=publisher):
        await until(lambda: publisher._runs and publisher._runs[0][0].claim, 10.0)
    assert command(server, "GET", "{fgw}:bot") == BOT_ID
    with pytest.raises(UsageError, match=f"has the streams of bot {BOT_ID}"):
        await publish(server.url)


async def test_ready_of_another_bot_ends_the_gateway_and_fences_nobody(server):
    """The streams are another's: nothing is begun in them, and start() is long over."""
    command(server, "SET", "{fgw}:bot", "1")
    command(server, "HSET", "{fgw}:shard:0", "claim", "7")
    publisher = Publisher(server.url)
    async with FakeGateway() as fake:
        gateway = gateway_to(fake, publish=publisher)
        await gateway.start()
        with pytest.raises(UsageError, match="has the streams of bot 1 under this prefix"):
            await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))
        await gateway.close()
    assert command(server, "HGETALL", "{fgw}:shard:0") == {"claim": "7"}
    assert command(server, "GET", "{fgw}:bot") == "1"
