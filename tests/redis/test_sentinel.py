"""A server that Sentinel looks after: its master is asked for anew, and nothing is lost with it."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import needs_redis

pytest.importorskip("redis")
from sentinels import PASSWORD, SENTINEL_PASSWORD, Sentinels, needs_sentinel

from fastgw import UsageError
from fastgw.redis import Consumer, Publisher, RedisIdentifyQueue, RedisSessionStore
from fastgw.redis.address import is_url, shown_url
from fastgw.testing import FakeGateway
from fastgw.testing.conformance.stores import BOT, session_of

pytestmark = [pytest.mark.redis, needs_redis, needs_sentinel, pytest.mark.one_loop]

SHARDS = 2
LEASE_S = 20.0  # more than a failover takes here


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    """All tests that end no server have these."""
    sentinels = Sentinels(tmp_path_factory.mktemp("sentinels"))
    sentinels.start()
    yield sentinels
    sentinels.stop()


@pytest.fixture
def own(tmp_path):
    """Whatever happens to these is of this test alone."""
    sentinels = Sentinels(tmp_path)
    sentinels.start()
    yield sentinels
    sentinels.stop()


class Numbers:
    """Messages on all shards, and what a consumer has of them."""

    def __init__(self, fake):
        self._fake = fake
        self.sent = 0
        self.got = {shard_id: [] for shard_id in range(SHARDS)}
        self.is_over = False

    async def send(self):
        """Send, until `stop()`."""
        while not self.is_over:
            for shard_id in range(SHARDS):
                data = {"id": "1", "n": self.sent}
                self._fake.dispatch("MESSAGE_CREATE", data, shard_id=shard_id)
            self.sent += 1
            await asyncio.sleep(0.002)

    def take(self, event):
        self.got[event.shard_id].append(event.data["n"])

    async def go_on(self):
        """Wait until a hundred more have arrived on each shard."""
        goal = self.sent + 100
        await until(lambda: all(max(got, default=0) > goal for got in self.got.values()), 60.0)

    async def all_arrived(self):
        """Stop, and wait for the last of them."""
        self.is_over = True
        every = set(range(self.sent))
        await until(lambda: all(set(got) >= every for got in self.got.values()), 60.0)

    @property
    def are_in_order(self):
        """Whether each shard's came in order when they came first."""
        return all(list(dict.fromkeys(got)) == sorted(set(got)) for got in self.got.values())


def freeze(sentinels):
    """Let the master stand still until there is another; when it goes on it is a replica."""
    former = sentinels.fail_over(lambda port: sentinels.signal(port, signal.SIGSTOP))
    sentinels.signal(former, signal.SIGCONT)


def lose_the_last(sentinels):
    """Kill the master when the replica has not heard of it for a moment."""
    replica = next(port for port in sentinels.ports if port != sentinels.master())

    def cut_and_kill(master):
        client.config_set("masterauth", "no-more")
        client.execute_command("CLIENT", "KILL", "TYPE", "master")
        time.sleep(0.3)  # of traffic that is lost
        sentinels.signal(master, signal.SIGKILL)

    with sentinels.server(replica) as client:
        sentinels.fail_over(cut_and_kill)
        client.config_set("masterauth", PASSWORD)


@pytest.mark.parametrize(
    "end_of_master",
    [
        pytest.param(lambda sentinels: sentinels.kill_master(), id="killed"),
        pytest.param(lambda sentinels: sentinels.demote_master(), id="demoted"),
        pytest.param(freeze, id="frozen"),
        pytest.param(lose_the_last, id="killed before the replica had all"),
    ],
)
async def test_a_failover_under_traffic_loses_nothing(own, end_of_master):
    """What did not reach the replica is asked of Discord again, under the ids that it had."""
    appended = {shard_id: {} for shard_id in range(SHARDS)}
    async with FakeGateway(recommended_shards=SHARDS, max_concurrency=SHARDS) as fake:
        numbers = Numbers(fake)
        consumer = Consumer(own.url, group="bot", shards=SHARDS, lease_s=3.0)
        consumer.on("MESSAGE_CREATE")(numbers.take)
        audit = Consumer(own.url, group="audit", shards=SHARDS)
        audit.on("MESSAGE_CREATE")(
            lambda event: (
                appended[event.shard_id].setdefault(event.data["n"], set()).add(event.sequence)
            )
        )
        publisher = Publisher(own.url)
        gateway = gateway_to(
            fake, publish=publisher, shards=range(SHARDS), shard_count=SHARDS,
            store=RedisSessionStore(own.url, acknowledge="handled", lease_s=LEASE_S),
            identify_queue=RedisIdentifyQueue(
                own.url, max_concurrency=SHARDS, interval_s=0.02, padding_s=(0.0, 0.0)
            ),
        )  # fmt: skip
        async with consumer, audit, gateway:
            await gateway.wait_ready(scaled(30.0))
            sending = asyncio.ensure_future(numbers.send())
            try:
                await numbers.go_on()
                await asyncio.to_thread(end_of_master, own)
                await numbers.go_on()
                await until(lambda: not gateway._fleet._sessions._store._trouble.is_on, 30.0)
                await numbers.all_arrived()
            finally:
                numbers.is_over = True
                await sending
        identifies = len(fake.identifies)
    assert numbers.are_in_order
    assert all(len(each) == 1 for of_shard in appended.values() for each in of_shard.values())
    assert identifies == SHARDS
    assert publisher.tails_lost or end_of_master is not lose_the_last


async def test_a_session_survives_the_server_that_it_was_stored_in(own):
    """Who takes the shard after a failover has it as the replica had it."""
    store = await RedisSessionStore(own.url).open(BOT)
    await store.take([0], 4)
    store.save(session_of(0, sequence=7))
    await until(lambda: store._rows.is_written)
    await asyncio.to_thread(own.kill_master)
    store.save_sequences({0: 9})
    await until(lambda: store._rows.is_written, 60.0)
    await store.close()
    await asyncio.to_thread(own.wait_for_master)
    store = await RedisSessionStore(own.url).open(BOT)
    assert (await store.take([0], 4))[0].session.sequence == 9
    await store.close()


# --- what may be wrong -------------------------------------------------------------------------


async def refusals(url):
    """Return what a store and a consumer say of a URL at the start."""
    said = []
    for start in (RedisSessionStore(url).open(1), Consumer(url, group="bot", shards=1).start()):
        with pytest.raises(UsageError) as raised:
            await start
        said.append(f"{raised.value} {raised.value.__cause__} {raised.value.__context__}")
    return said


async def test_an_unknown_master_is_named(sentinels):
    """The sentinels answer, and know none of that name."""
    for said in await refusals(sentinels.url.replace("mymaster", "yourmaster")):
        assert "know no master 'yourmaster'" in said
        assert PASSWORD not in said


async def test_sentinels_that_are_all_away_are_one_clear_error():
    """Nobody listens."""
    url = f"redis+sentinel://user:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/mymaster?sentinel_password=x2y"
    for said in await refusals(url):
        assert "no sentinel that can be reached" in said
        assert PASSWORD not in said
        assert "x2y" not in said
        assert "127.0.0.1:1,127.0.0.1:2/mymaster" in said


async def test_one_sentinel_that_is_there_is_enough(sentinels):
    """The others are asked until one answers."""
    url = sentinels.url.replace("@", "@127.0.0.1:1,")
    await (await RedisSessionStore(url).open(BOT)).close()


async def test_passwords_of_sentinels_and_server_are_told_apart(sentinels):
    """Each says of itself that it is wrong, and shows none."""
    for said in await refusals(sentinels.url.replace(SENTINEL_PASSWORD, "wrong-word")):
        assert "sentinel_password=" in said
        assert "wrong-word" not in said
    for said in await refusals(sentinels.url.replace(PASSWORD, "wrong-word")):
        assert "sentinel_password=" not in said
        assert "password" in said
        assert "wrong-word" not in said


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://host:26379",  # no master
        "redis+sentinel://host:port/mymaster",
        "redis+sentinel://host,/mymaster",
        "redis+sentinel://host/mymaster/first",
        "redis+sentinel://:very#secret@host/mymaster",
        "redis+sentinel://:very/secret@host/mymaster",
        "redis+sentinel://u:123/secret@host",
        "redis+sentinel://host/mymaster?sentinel_pasword=secret",
        "sentinel://host/mymaster",
    ],
)
def test_what_is_no_url_of_sentinels_is_refused(url):
    """With an example, and without what may be a password."""
    with pytest.raises(UsageError, match=r"redis\+sentinel://host") as raised:
        Consumer(url, group="bot", shards=1)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://host/mymaster",
        "rediss+sentinel://[::1]:26379,host2/mymaster/3?ssl_ca_certs=/a/b",
        "redis+sentinel://user:p%2Fw@host:1,host:2,host:3/mymaster/0?sentinel_username=a",
    ],
)
def test_what_is_one_is_taken(url):
    """A port may be left out, and the database."""
    assert is_url(url)
    assert "p%2Fw" not in shown_url(url)
