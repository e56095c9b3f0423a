"""What may be wrong with a Redis: each is one clear error, or a wait that says so."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import threading
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

from fastgw import UsageError
from fastgw.fleet.http.gateway_info import SessionStartLimit
from fastgw.processes.shared import SharedRedis
from fastgw.redis import Consumer, Publisher, RedisIdentifyQueue, RedisSessionStore
from fastgw.redis.server import explained, is_for_good
from fastgw.testing import FakeGateway
from fastgw.testing.conformance.stores import BOT, session_of

pytestmark = [pytest.mark.redis, needs_redis]
SECRET = "very-secret-word"


@pytest.fixture
def server(tmp_path):
    """A server of this test's own, which it may ruin."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def command(server, *words):
    """Say something to a server as somebody else does."""
    import redis

    client = redis.Redis.from_url(server.url, decode_responses=True)
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def free_port():
    """Return a port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_node_of_a_cluster_that_has_other_keys_is_said():
    """And is no error that waiting helps with; keys that are on their way are one."""
    from redis import exceptions

    url = f"redis://:{SECRET}@host:7000"
    moved = exceptions.MovedError("12182 10.0.0.1:7001")  # as redis-py reads the answer
    told = explained(moved, url, "{fgw}")
    assert isinstance(told, UsageError)
    assert "redis://host:7000 is a node of a cluster that has not the keys {fgw}:*" in str(told)
    assert is_for_good(moved)

    asking = exceptions.AskError("12182 10.0.0.1:7001")
    told = explained(asking, url, "{fgw}")
    assert isinstance(told, exceptions.ResponseError)
    assert "redis://host:7000: its keys are moved to another node" in str(told)
    assert not is_for_good(asking)


@pytest.mark.parametrize("url", ["http://host", "host:6379", f"redis:/{SECRET}@h", 7, ""])
def test_what_is_no_url_is_refused_at_once(url):
    """With an example, and without what may be a password."""
    for kind in (RedisSessionStore, RedisIdentifyQueue):
        if url == f"redis:/{SECRET}@h":
            continue
        with pytest.raises(UsageError, match="redis://host"):
            kind(url)


@pytest.mark.parametrize("url", ["redis://h/bot", "rediss://h/0/1x", "redis://h/-1"])
def test_a_database_that_is_no_number_is_refused(url):
    """redis-py would take number 0, and who meant a name would never know."""
    with pytest.raises(UsageError, match="redis://host:6379/0"):
        RedisSessionStore(url)


@pytest.mark.parametrize("use", [
    RedisSessionStore, RedisIdentifyQueue, Publisher, lambda url: SharedRedis(url),
    lambda url: Consumer(url, group="bot", shards=1),
], ids=["store", "queue", "publisher", "run", "consumer"])  # fmt: skip
@pytest.mark.parametrize("server", ["redis://h:1/0", "unix:///s", "redis+sentinel://h/mymaster/0"])
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("socket_timeout=abc", "Invalid value for 'socket_timeout'"),
        ("health_check_interval=soon", "Invalid value for 'health_check_interval'"),
        ("sockt_timeout=5", "there is no option 'sockt_timeout'"),
        ("ssl_ca_certs=/ca.pem", "there is no option 'ssl_ca_certs'"),
        ("protocol=7", "protocol must be"),
        ("max_connections=-1", "max_connections"),
        ("cache_config=on", "takes no text|no option 'cache_config'"),
        ("retry=3", "'retry' takes no text"),
        ("retry_on_error=TimeoutError", "'retry_on_error' takes no text"),
        ("socket_keepalive_options=x", "'socket_keepalive_options' takes no text"),
    ],
)
def test_an_option_of_a_url_that_cannot_be_is_named_at_once(use, server, option, says):
    """Wherever a URL is taken, before anything is connected: which it is, and no password."""
    with pytest.raises(UsageError, match=says) as raised:
        use(f"{server}?{option}&password={SECRET}")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("prefix", ["", "a{b}", "a*", 7])
def test_what_is_no_prefix_is_refused(prefix):
    """Keys of one bot are in one slot of a cluster: braces are ours."""
    with pytest.raises(UsageError, match="prefix"):
        RedisSessionStore("redis://h", prefix=prefix)


async def test_no_server_is_one_clear_error():
    """It names the server, and not the password of its URL."""
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0"
    with pytest.raises(UsageError, match=r"127\.0\.0\.1") as raised:
        await RedisSessionStore(url).open(1)
    assert SECRET not in str(raised.value)
    assert str(raised.value).endswith(
        "Connection refused; check that a Redis runs there, and the host, port and TLS of its URL"
    )
    assert SECRET not in repr(RedisSessionStore(url))
    with pytest.raises(UsageError, match=r"127\.0\.0\.1") as raised:
        await RedisIdentifyQueue(url).learn(SessionStartLimit(), asked_at=0.0, is_fresh=True)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("kind", ["consumer", "publisher"])
async def test_streams_without_a_server_say_what_to_check(kind):
    """Before anything runs; who looks for the cause begins at the URL."""
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0"
    async with FakeGateway() as fake:
        publishing = gateway_to(fake, publish=Publisher(url))
        who = Consumer(url, group="bot", shards=1) if kind == "consumer" else publishing
        with pytest.raises(UsageError, match="check that a Redis runs there") as raised:
            await who.start()
        await who.close()
    assert SECRET not in str(raised.value)


async def test_a_wrong_password_is_refused_without_showing_it(tmp_path):
    """And so is none."""
    server = RedisServer(tmp_path, "--requirepass", "right")
    try:
        for url in (server.url, f"unix://:{SECRET}@{server.socket}"):
            with pytest.raises(UsageError, match="password") as raised:
                await RedisSessionStore(url).open(1)
            assert SECRET not in str(raised.value)
        store = await RedisSessionStore(f"unix://:right@{server.socket}").open(1)
        await store.close()
    finally:
        server.stop()


async def test_a_key_of_another_type_is_named(server):
    """Somebody else uses the prefix."""
    command(server, "SET", "{fgw}:session", "x")
    store = await RedisSessionStore(server.url).open(1)
    with pytest.raises(UsageError, match=r"something else under the keys \{fgw\}"):
        await store.take([0], 1)
    await store.close()


async def test_two_bots_do_not_share_a_prefix(server):
    """Neither sessions nor turns."""
    store = await RedisSessionStore(server.url).open(BOT)
    await store.take([0], 4)
    store.save(session_of(0))
    await store.close()
    with pytest.raises(UsageError, match="bot"):
        await RedisSessionStore(server.url).open(2)
    queue = RedisIdentifyQueue(server.url)
    await queue.learn(SessionStartLimit(), asked_at=0.0, is_fresh=True, bot_id=1)
    with pytest.raises(UsageError, match="turns of bot 1"):
        await queue.learn(SessionStartLimit(), asked_at=0.0, is_fresh=True, bot_id=2)


async def test_scripts_that_the_server_forgot_are_sent_again(server):
    """SCRIPT FLUSH, or another server behind the same name."""
    store = await RedisSessionStore(server.url).open(BOT)
    await store.take([0], 4)
    command(server, "SCRIPT", "FLUSH")
    store.save(session_of(0))
    await store.close()
    store = await RedisSessionStore(server.url).open(BOT)
    assert list(await store.take([0], 4)) == [0]
    await store.close()


async def test_a_server_that_was_away_has_it_all_afterwards(server, caplog):
    """Told once; then all of it is sent, also to a server that begins empty."""
    store = await RedisSessionStore(server.url, lease_s=0.5).open(BOT)
    await store.take([0], 4)
    store.save(session_of(0, sequence=7))
    await until(lambda: store._rows.is_written)
    server.stop()
    store.save_sequences({0: 99})
    await until(lambda: store._trouble.is_on)
    assert store.is_durable  # a bot that is closed now must leave its sessions to be resumed
    server.start()
    await until(lambda: "is there again" in caplog.text)  # said by the store's thread
    lines = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [r.levelname for r in lines] == ["ERROR", "WARNING"]
    await store.close()
    store = await RedisSessionStore(server.url).open(BOT)
    assert (await store.take([0], 4))[0].session.sequence == 99
    await store.close()


async def test_a_full_server_is_told_and_tried_again(server, caplog):
    """maxmemory, and nothing that it may evict."""
    store = await RedisSessionStore(server.url, lease_s=0.5).open(BOT)
    await store.take([0], 4)
    command(server, "CONFIG", "SET", "maxmemory", "1")
    store.save(session_of(0))
    await until(lambda: "maxmemory" in caplog.text)  # said by the store's thread
    command(server, "CONFIG", "SET", "maxmemory", "0")
    await until(lambda: not store._trouble.is_on)
    await store.close()
    store = await RedisSessionStore(server.url).open(BOT)
    assert list(await store.take([0], 4)) == [0]
    await store.close()


async def test_a_replica_that_may_not_be_written_is_told(server, tmp_path):
    """A URL of the wrong server."""
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(free_port()))
    try:
        store = await RedisSessionStore(replica.url).open(1)
        with pytest.raises(UsageError, match=r"(?i)read.?only"):
            await store.take([0], 1)
        await store.close()
    finally:
        replica.stop()


async def test_a_certificate_that_nobody_vouches_for_is_refused():
    """rediss:// verifies."""
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def serve():
            sock, _ = listening.accept()
            try:
                context.wrap_socket(sock, server_side=True).close()
            except OSError:
                sock.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(UsageError, match="certificate"):
            await RedisSessionStore(f"rediss://127.0.0.1:{port}").open(1)
        thread.join(scaled(5.0))


async def test_a_server_that_is_too_old_is_refused(server, monkeypatch):
    """Scripts rely on 7.0."""
    monkeypatch.setattr("fastgw.redis.server.LEAST_VERSION", (99, 0))
    with pytest.raises(UsageError, match=r"needs 7\.0"):
        await RedisSessionStore(server.url).open(1)


async def test_who_waits_for_a_turn_waits_while_the_server_is_away(server, caplog):
    """Said once, at ERROR; the turn comes when it is back."""
    queue = RedisIdentifyQueue(server.url, interval_s=0.05, padding_s=(0, 0))
    (await queue.acquire(0)).release()
    server.stop()
    waiting = asyncio.ensure_future(queue.acquire(0))
    await until(lambda: "no identify turn" in caplog.text)
    server.start()
    (await asyncio.wait_for(waiting, scaled(20))).release()
    assert caplog.text.count("no identify turn") == 1
    assert "which is tried again: shards that must identify wait meanwhile" in caplog.text
    assert "is there again: identify turns are given" in caplog.text


async def test_a_turn_of_a_process_that_is_gone_counts_as_written(server, monkeypatch):
    """Nobody knows whether its IDENTIFY went out."""
    monkeypatch.setattr("fastgw.redis.identify.ALIVE_S", 0.3)
    gone = RedisIdentifyQueue(server.url, interval_s=0.2, padding_s=(0, 0), reserve=0)
    await gone.learn(
        SessionStartLimit(total=10, remaining=10, reset_after_s=60), asked_at=0.0, is_fresh=False
    )
    await gone.acquire(0)
    desk = gone._lines.desk
    desk.close()  # as if it were killed
    assert desk._thread.join(scaled(20))
    heir = RedisIdentifyQueue(server.url, interval_s=0.2, padding_s=(0, 0), reserve=0)
    (await asyncio.wait_for(heir.acquire(0), scaled(20))).release()
    assert heir.budget().remaining <= 9


@pytest.mark.parametrize(
    "url",
    ["redis://:very/secret@h", "redis://:abc#very-secret@h", "redis://:p[very-secret@h"],
)
def test_a_password_that_breaks_its_url_is_not_shown(url):
    """Not by the text, and not by what caused it."""
    with pytest.raises(UsageError) as raised:
        RedisSessionStore(url)
    shown = f"{raised.value} {raised.value.__cause__!r}"
    assert "secret" not in shown
    assert "very" not in shown


async def test_a_password_in_the_query_is_not_shown():
    """redis-py takes it from there, too."""
    url = f"redis://127.0.0.1:{free_port()}/0?password={SECRET}"
    with pytest.raises(UsageError) as raised:
        await RedisSessionStore(url).open(1)
    assert SECRET not in str(raised.value)


async def test_a_shard_that_is_given_up_while_the_server_is_away_keeps_its_session(server):
    """What could not be sent of it is not taken for its end."""
    import redis

    store = await RedisSessionStore(server.url).open(BOT)
    await store.take([0, 1], 4)
    store.save(session_of(0))
    store.save(session_of(1))
    await until(lambda: store._rows.is_written)
    await store._thread.call(lambda: None)
    script = store._server.script

    def away(*_):
        raise redis.ConnectionError("away")

    store._server.script = away
    store.save_sequences({0: 9, 1: 9})
    await store.release([0])
    store._server.script = script
    store.save_sequences({1: 10})
    await store.close()
    assert sorted(command(server, "HKEYS", "{fgw}:session")) == ["0", "1"]


@pytest.fixture
def hangs(server):
    """Let the server take connections and commands, and answer none, until the test is over."""
    yield lambda: os.kill(server._process.pid, signal.SIGSTOP)
    os.kill(server._process.pid, signal.SIGCONT)


@pytest.fixture
def _patient(monkeypatch):
    """Answers are waited for for ever, but not where something is closed."""
    monkeypatch.setattr("fastgw.redis.server.TIMEOUT_S", 3_600.0)
    monkeypatch.setattr("fastgw.redis.store.CLOSE_S", 0.2)


@pytest.mark.usefixtures("_patient")
async def test_a_close_does_not_wait_for_a_server_that_hangs(server, hangs):
    """Neither does its thread, whatever it was doing."""
    store = await RedisSessionStore(server.url, lease_s=0.3).open(BOT)
    await store.take([0], 4)
    hangs()
    store.save(session_of(0))
    await asyncio.wait_for(store.close(), scaled(20))
    assert store._thread.join(scaled(20))


@pytest.mark.usefixtures("_patient")
async def test_opening_can_be_cancelled_while_the_server_hangs(server, hangs):
    """The thread that waits for its first answer ends, too."""
    hangs()
    opening = asyncio.ensure_future(RedisSessionStore(server.url).open(BOT))
    await until(lambda: "fastgw redis" in {thread.name for thread in threading.enumerate()})
    opening.cancel()
    await asyncio.wait((opening,), timeout=scaled(20))
    assert opening.cancelled()


@pytest.mark.usefixtures("_patient")
async def test_a_shard_that_is_given_up_while_the_server_hangs_is_free_afterwards(server, hangs):
    """Nobody waits for it; its session stays, as far as it was known."""
    store = await RedisSessionStore(server.url, lease_s=300.0).open(BOT)
    await store.take([0, 1], 4)
    hangs()
    store.save(session_of(0))
    await asyncio.wait_for(store.release([0]), scaled(20))
    os.kill(server._process.pid, signal.SIGCONT)
    await store._thread.call(lambda: None)
    assert command(server, "HKEYS", "{fgw}:owner") == ["1"]
    assert command(server, "HKEYS", "{fgw}:session") == ["0"]
    await store.close()


async def test_a_turn_is_over_before_the_next_is_asked_for(server):
    """However slow the server is: what was released is not counted as held by who comes next."""
    queue = RedisIdentifyQueue(server.url, reserve=10)
    limit = SessionStartLimit(total=1_000, remaining=11, reset_after_s=3_600, max_concurrency=4)
    await queue.learn(limit, asked_at=time.monotonic(), is_fresh=True)
    for shard_id in range(4):
        turn = await queue.acquire(shard_id)
        queue._lines.desk._thread.post(lambda: time.sleep(0.2), failed=print)
        turn.release()


async def test_an_identify_whose_write_was_not_heard_of_counts_all_the_same(server):
    """The release says it again: the next turn of the key is an interval away."""
    import redis

    queue = RedisIdentifyQueue(server.url, interval_s=0.5, padding_s=(0, 0), max_concurrency=1)
    turn = await queue.acquire(0)
    desk = queue._lines.desk
    script = desk._server.script

    def away(name, *rest):
        if name == "turn":
            raise redis.ConnectionError("away")
        return script(name, *rest)

    desk._server.script = away
    turn.written()
    await desk._thread.call(lambda: None)
    assert int(command(server, "ZCARD", "{fgw}:log")) == 0
    desk._server.script = script
    turn.release()
    second = await queue.acquire(1)
    assert int(command(server, "ZCARD", "{fgw}:log")) == 1
    second.release()


@pytest.fixture
def _brisk(monkeypatch):
    """Who got no answer asks again at once."""
    monkeypatch.setattr("fastgw.redis.identify.AGAIN_S", 0.01)


def queue_of(server):
    """Return a queue of a process of its own."""
    return RedisIdentifyQueue(server.url, interval_s=0.05, padding_s=(0, 0), max_concurrency=2)


def lose(desk, *names, what=""):
    """Lose what the server answers to these scripts, or what is said to it."""
    import redis

    script = desk._server.script

    def losing(name, *rest):
        if name not in names:
            return script(name, *rest)
        if what != "questions":
            script(name, *rest)
        raise redis.TimeoutError("lost")

    desk._server.script = losing

    def undo():
        desk._server.script = script

    return undo


@pytest.mark.usefixtures("_brisk")
async def test_a_turn_whose_grant_was_lost_is_given_to_its_asker(server):
    """It asks again, and has it: nothing is held that nobody knows of."""
    queue = queue_of(server)
    other = await queue.acquire(1)  # the desk is open
    undo = lose(queue._lines.desk, "attempt")
    asking = asyncio.ensure_future(queue.acquire(0))
    await until(lambda: command(server, "HLEN", "{fgw}:turn") == 2)
    undo()
    turn = await asyncio.wait_for(asking, scaled(20))
    turn.release()
    other.release()
    await until(lambda: command(server, "HLEN", "{fgw}:turn") == 0)
    assert command(server, "ZCARD", "{fgw}:log") == 0  # and nothing was spent


@pytest.mark.usefixtures("_brisk")
async def test_a_turn_that_nobody_waits_for_is_free_soon(server):
    """Its grant was lost, its asker left, and the word of that was lost as well."""
    queue = queue_of(server)
    other = await queue.acquire(1)  # the process lives on
    desk = queue._lines.desk
    undo = lose(desk, "attempt")
    lose(desk, "turn", what="questions")
    asking = asyncio.ensure_future(queue.acquire(0))
    await until(lambda: command(server, "HLEN", "{fgw}:turn") == 2)
    asking.cancel()
    await asyncio.wait((asking,))
    await desk._thread.call(lambda: None)
    undo()
    assert command(server, "HLEN", "{fgw}:turn") == 2
    await desk._thread.call(desk._renew)
    (await asyncio.wait_for(queue_of(server).acquire(0), scaled(20))).release()
    await until(lambda: command(server, "HKEYS", "{fgw}:turn") == ["1"])
    other.release()


async def test_a_release_that_was_lost_is_heard_of_soon(server, monkeypatch):
    """With the next sign of life. It may have been written: it counts."""
    monkeypatch.setattr("fastgw.redis.identify.ALIVE_S", 0.3)
    queue = queue_of(server)
    other = await queue.acquire(1)
    turn = await queue.acquire(0)
    desk = queue._lines.desk
    undo = lose(desk, "turn", what="questions")
    turn.release()
    await desk._thread.call(lambda: None)
    undo()
    await until(lambda: command(server, "HKEYS", "{fgw}:turn") == ["1"])
    assert command(server, "ZCARD", "{fgw}:log") == 1
    other.release()


async def test_a_question_that_the_server_hears_too_late_holds_nothing_for_long(server):
    """A server that stood still does what it was asked, though nobody waits for its answer."""
    queue = queue_of(server)
    other = await queue.acquire(1)
    desk, asked = queue._lines.desk, []
    script = desk._server.script

    def keeping(name, *rest):
        asked.append((name, *rest))
        return script(name, *rest)

    desk._server.script = keeping
    (await queue.acquire(0)).release()
    await desk._thread.call(lambda: script(*next(one for one in asked if one[0] == "attempt")))
    assert command(server, "HLEN", "{fgw}:turn") == 2
    await desk._thread.call(desk._renew)
    assert command(server, "HKEYS", "{fgw}:turn") == ["1"]
    other.release()


async def test_a_sign_of_life_that_is_heard_late_ends_no_newer_turn(server):
    """It knows of the attempts that there were when it was said."""
    queue = queue_of(server)
    first = await queue.acquire(0)
    said, desk = [], queue._lines.desk
    script = desk._server.script
    desk._server.script = lambda *what: said.append(what)
    await desk._thread.call(desk._renew)
    desk._server.script = script
    newer = await queue.acquire(1)
    await desk._thread.call(lambda: script(*said[0]))
    assert command(server, "HLEN", "{fgw}:turn") == 2
    for turn in (first, newer):
        turn.release()


async def test_who_waits_for_a_shard_is_told_that_the_store_was_closed(server):
    """Another process has it for as long as the wait goes on."""
    opened = [await RedisSessionStore(server.url, lease_s=5.0).open(BOT) for _ in range(2)]
    await opened[0].take((0,), 1)
    taking = asyncio.ensure_future(opened[1].take((0,), 1))
    await asyncio.sleep(0.1)
    await opened[1].close()
    with pytest.raises(UsageError, match="closed"):
        await asyncio.wait_for(taking, scaled(4))
    await opened[0].close()
