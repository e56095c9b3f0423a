"""`fastgw.testing.ChaosProxy`: each fault does what it says, and the plan follows its seed."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest
from deadline import until
from plain_client import PlainClient

from fastgw.errors import UsageError
from fastgw.testing import ChaosPlan, ChaosProxy, Cut, FakeGateway, Fault, Traffic

HARMLESS = ChaosPlan(every_s=(0.0, 0.002), lasting_s=(0.0, 0.004), delay_s=(0.0, 0.002)).without(
    Fault.CUT, Fault.RESET, Fault.HALF_OPEN, Fault.CORRUPT
)


@asynccontextmanager
async def behind_proxy(*, tls=False, compress=None, seed=0):
    """Yield gateway, proxy and a client that is READY through the proxy."""
    async with FakeGateway(tls=tls) as fake, ChaosProxy(fake, seed=seed) as proxy:
        client = await connect(fake, proxy, compress)
        try:
            client.identify()
            client.ready = (await client.until("READY"))[-1]
            yield fake, proxy, client
        finally:
            await client.aclose()


async def connect(fake, proxy, compress=None):
    """Open and upgrade one connection through the proxy."""
    client = await PlainClient.open(
        proxy.url, compress=compress, ssl_context=fake.client_ssl_context
    )
    try:
        return await client.upgraded()
    except OSError:
        await client.aclose()
        raise


async def arrives(fake, client, count=40):
    """Check that traffic dispatched now arrives whole and in order."""
    dispatches = Traffic(1, mix={"INTERACTION_CREATE": 1}).dispatches(count)
    first = fake.service.session().sequence + 1
    fake.dispatch_many(dispatches)
    for sequence in range(first, first + count):
        assert (await client.next())["s"] == sequence


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_passes_bytes_unchanged(tls):
    """Without faults the proxy is not noticed; READY names it as the place to resume."""
    async with behind_proxy(tls=tls, compress="zstd-stream") as (fake, proxy, client):
        assert client.ready["d"]["resume_gateway_url"] == proxy.url == proxy.info.url
        await arrives(fake, client, 200)
        (relay,) = proxy.relays
        assert relay.bytes_down > 10_000
        assert proxy.faults == {}
    assert fake.service.resume_url == fake.url


async def test_a_second_start_is_refused_and_the_first_goes_on():
    """As with FakeGateway: it would listen twice, and forget what it has to put back."""
    async with behind_proxy() as (fake, proxy, _client):
        url = proxy.url
        with pytest.raises(UsageError, match="running already"):
            await proxy.start()
        assert proxy.url == fake.service.resume_url == url


async def test_cut_is_an_orderly_end_of_tcp():
    """The client sees FIN and the gateway loses the connection."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.cut()
        assert await client.ended() == -1
        assert client._reader.exception() is None
        await fake.wait_for(lambda: not fake.connections)
        assert proxy.faults == {Fault.CUT: 1}


async def test_reset_is_a_reset():
    """The client sees RST."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.reset()
        assert await client.ended() == -1
        assert isinstance(client._reader.exception(), ConnectionResetError)
        await fake.wait_for(lambda: not fake.connections)


@pytest.mark.parametrize("how", [Cut.RESET, Cut.END])
async def test_ends_of_the_gateway_pass_through(how):
    """RST stays RST and FIN stays FIN."""
    async with behind_proxy() as (fake, proxy, client):
        fake.cut(how)
        assert await client.ended() == -1
        assert isinstance(client._reader.exception(), ConnectionResetError) is (how is Cut.RESET)
        await until(lambda: not proxy.relays)


async def test_close_frame_passes_before_the_end():
    """A CLOSE of the gateway arrives although TCP ends behind it."""
    async with behind_proxy() as (fake, _proxy, client):
        fake.close(4009)
        assert await client.ended() == 4009


async def test_half_open_passes_nothing_and_tells_nobody():
    """Both ends keep their connection; when one goes, the other does not hear of it."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.half_open()
        fake.dispatch("TYPING_START", {})
        client.send({"op": 1, "d": 1})
        other = await connect(fake, proxy)  # time passes: others are served
        assert (await other.next())["op"] == 10
        assert len(client.frames) == 2
        assert fake.connection().peer.heartbeats == 0
        await client.aclose()
        await other.aclose()
        await fake.wait_for(lambda: len(fake.connections) == 1)
        assert fake.is_ready()
        with pytest.raises(UsageError, match="no open connection to cut"):
            proxy.cut()
        fake.connection().abort()
        await until(lambda: not proxy.relays)


async def test_stall_holds_back_and_lets_go():
    """Nothing passes until it is released; then everything comes, in order."""
    async with behind_proxy(compress="zlib-stream") as (fake, proxy, client):
        proxy.stall()
        fake.dispatch("TYPING_START", {})
        client.send({"op": 1, "d": 1})
        other = await connect(fake, proxy)
        assert (await other.next())["op"] == 10
        assert len(client.frames) == 2
        proxy.relays[0].release()
        assert {(await client.next())["op"], (await client.next())["op"]} == {0, 11}
        await other.aclose()


async def test_stall_ends_by_itself():
    """A stall with a duration needs no release."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.stall(0.01)
        proxy.stall(0.02)
        await arrives(fake, client)


async def test_slices_delays_and_limits_change_nothing_but_time():
    """Bytes one by one, held back, or few at a time: all arrive."""
    async with behind_proxy(tls=True, compress="zstd-stream") as (fake, proxy, client):
        proxy.slice(3_000)
        await arrives(fake, client)
        assert proxy.relays[0].slices_left == 0
        proxy.delay(0.001, lasting_s=60)
        await arrives(fake, client)
        proxy.throttle(500_000, lasting_s=60)
        await arrives(fake, client)
        assert proxy.faults == {Fault.SLICE: 1, Fault.DELAY: 1, Fault.THROTTLE: 1}


async def test_a_flipped_bit_ends_a_tls_connection():
    """TLS notices the flip: the connection ends, nothing wrong is delivered."""
    async with behind_proxy(tls=True) as (fake, proxy, client):
        proxy.corrupt()
        fake.dispatch("TYPING_START", {})
        assert await client.ended() == -1
        assert len(client.frames) == 2
        await fake.wait_for(lambda: not fake.connections)


async def test_a_flip_that_makes_a_tls_record_longer_is_noticed_later():
    """In the record's length: the client waits for the rest, and what follows is taken for it."""
    async with behind_proxy(tls=True, seed=29) as (fake, proxy, client):
        flips = []
        flip = proxy.relays[0]._flip

        def flipped(data):
            changed = flip(data)
            flips.append([at for at in range(len(data)) if data[at] != changed[at]])
            return changed

        proxy.relays[0]._flip = flipped
        proxy.corrupt()
        fake.dispatch("TYPING_START", {})
        await until(lambda: flips)
        assert flips == [[3]]  # RFC 8446 5.1: type, version, version, length, length
        assert proxy.relays[0].is_open
        fake.dispatch_many(Traffic(1).dispatches(200))
        assert await client.ended() == -1
        assert len(client.frames) == 2


async def test_a_connection_that_was_stalled_may_be_half_open():
    """What was held up is dropped; the proxy sees the ends go, each by itself."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.stall()
        fake.dispatch("TYPING_START", {})
        client.send({"op": 1, "d": 1})
        await until(lambda: not proxy.relays[0]._reader._buffer)
        proxy.half_open()
        await client.aclose()
        fake.connection().abort()
        await until(lambda: not proxy.relays)
        assert len(client.frames) == 2


async def test_an_end_does_not_pass_a_stall():
    """The gateway hears of it when it is over."""
    async with behind_proxy() as (fake, proxy, client):
        proxy.stall()
        await client.aclose()
        other = await connect(fake, proxy)  # time passes: others are served
        assert (await other.next())["op"] == 10
        assert len(fake.connections) == 2
        proxy.relays[0].release()
        await fake.wait_for(lambda: len(fake.connections) == 1)
        await other.aclose()


@pytest.mark.parametrize("bytes_per_s", [0, -1.0, float("nan")])
async def test_no_bandwidth_is_no_limit(bytes_per_s):
    """It would end one way of a connection by an error of the proxy's own."""
    async with behind_proxy() as (_fake, proxy, _client):
        with pytest.raises(UsageError, match="is not above 0"):
            proxy.throttle(bytes_per_s, 1.0)


async def test_plan_follows_its_seed():
    """One seed gives the same faults, another seed others; the number asked for is kept."""
    counts = []
    for seed in (3, 3, 4):
        async with behind_proxy(seed=seed) as (_fake, proxy, _client):
            await proxy.run(HARMLESS, faults=30)
            assert proxy.faults.total() == 30
            counts.append(dict(proxy.faults))
    assert counts[0] == counts[1] != counts[2]


async def test_plan_ends_with_its_time():
    """Without a number of faults it is the time that ends a run, also when nobody connects."""
    async with FakeGateway() as fake, ChaosProxy(fake) as proxy:
        await proxy.run(ChaosPlan(every_s=(0.001, 0.002)), lasting_s=0.02)
        assert proxy.faults == {}


async def test_needs_a_running_gateway():
    """The gateway comes first."""
    with pytest.raises(UsageError, match="start the FakeGateway"):
        await ChaosProxy(FakeGateway()).start()


async def test_gateway_that_is_gone_resets_clients():
    """Nothing listens behind the proxy: clients are reset."""
    fake = FakeGateway()
    await fake.start()
    async with ChaosProxy(fake) as proxy:
        await fake.stop()
        client = await PlainClient.open(proxy.url)
        with pytest.raises(ConnectionResetError):
            await client.upgraded()
        await client.aclose()


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_fault_strikes_before_the_gateway_is_reached(fault):
    """A connection that was only just accepted ends as well, at both ends."""
    async with FakeGateway() as fake, ChaosProxy(fake) as proxy:
        client = await PlainClient.open(proxy.url)
        await proxy.run(ChaosPlan(weights={Fault[fault.upper()]: 1}, every_s=(0, 0)), faults=1)
        with contextlib.suppress(OSError):
            await client.upgraded()
        assert client.status == 0
        await until(lambda: not proxy.relays)
        await fake.wait_for(lambda: not fake.connections)
        await client.aclose()


# Python 3.10 warns of a TLS transport that the peer closed between handshake and upgrade.
@pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
async def test_nothing_is_lost_under_chaos():
    """A client that resumes gets every dispatch exactly once, whatever the proxy does."""
    plan = ChaosPlan(every_s=(0.0, 0.0), lasting_s=(0.005, 0.03), slice_bytes=(10, 300))
    plan = plan.without(Fault.HALF_OPEN)  # this client has no heartbeat to notice it with
    got: list[int] = []
    async with FakeGateway(tls=True) as fake, ChaosProxy(fake, seed=11) as proxy:
        client = await connect(fake, proxy, "zstd-stream")
        client.identify()
        ready = (await client.until("READY"))[-1]
        got.append(ready["s"])
        chaos = asyncio.ensure_future(_strike(proxy, plan, got, faults=60))
        feed = asyncio.ensure_future(_feed(fake, got, chaos))
        while True:
            try:
                while True:
                    message = await client.next()
                    if message["op"] == 0 and message["s"] > got[-1]:
                        got.append(message["s"])
                    if feed.done() and got[-1] == fake.service.session().sequence:
                        break
                break
            except (EOFError, ConnectionError, OSError):
                await client.aclose()
            client = await _resume(fake, proxy, ready, got[-1])
        await client.aclose()
        assert proxy.faults.total() == 60
        assert len(fake.identifies) == 1
        assert len(fake.resumes) > 5
    assert got == list(range(1, got[-1] + 1))


async def _strike(proxy, plan, got, *, faults):
    """Inflict faults one by one, each on a connection that delivers: as fast as the machine is."""
    for _ in range(faults):
        enough = len(got) + 5
        await until(lambda enough=enough: len(got) >= enough and _open(proxy) == 1, 30.0)
        await proxy.run(plan, faults=1)


def _open(proxy):
    """Count the connections that can be struck; an old one may not know yet that it has ended."""
    return sum(relay.is_open for relay in proxy.relays)


async def _resume(fake, proxy, ready, sequence):
    while True:
        try:
            client = await connect(fake, proxy, "zstd-stream")
            if client.status == 101:
                client.resume(ready, sequence)
                return client
        except OSError:
            continue
        await client.aclose()


async def _feed(fake, got, chaos):
    """Dispatch traffic, never far ahead of the client, until the chaos is over; a last event."""
    traffic = Traffic(2)
    while not chaos.done():
        if fake.service.session().sequence < got[-1] + 200:
            fake.dispatch_many(traffic.dispatches(20))
        await asyncio.sleep(0.005)
    await chaos
    fake.dispatch("INTERACTION_CREATE", {"last": True})
