"""Connections with a large read buffer are replaced by RESUME when it is quiet."""

import pytest
from deadline import until
from gateways import gateway_to, no_jitter, quick_queue
from inside import inside

from fastgw.errors import UsageError
from fastgw.fleet import relief
from fastgw.fleet.relief import AT_ONCE, QUIET_BYTES, Relief
from fastgw.testing import FakeGateway


class Driver:
    """A shard as `Relief` sees it."""

    def __init__(self, buffer_bytes, received=0):
        self.buffer_bytes = buffer_bytes
        self.received = received
        self.is_up = True
        self.replaced = 0

    def load(self):
        return (self.buffer_bytes, self.received) if self.is_up else None

    def reconnect(self):
        self.replaced += 1


def looks(relief_of, drivers, count=2):
    """Look that often, ten seconds apart, from where the last look was."""
    for _ in range(count):
        relief_of.tick(relief_of._look_at, drivers)


def test_a_large_buffer_is_worth_a_resume_when_it_is_quiet():
    """A small one is not, and a busy one waits."""
    drivers = {0: Driver(50_000), 1: Driver(500_000), 2: Driver(500_000)}
    one = Relief(100_000)
    looks(one, drivers, 1)
    assert [driver.replaced for driver in drivers.values()] == [0, 0, 0]  # nobody knows how quiet
    drivers[2].received += QUIET_BYTES
    looks(one, drivers, 1)
    assert [driver.replaced for driver in drivers.values()] == [0, 1, 0]
    assert one.count == 1
    looks(one, drivers, 1)
    assert drivers[2].replaced == 1


def test_never_more_than_a_few_at_a_time_and_the_largest_first():
    """Ten seconds lie between."""
    drivers = {i: Driver(200_000 + i) for i in range(10)}
    one = Relief(100_000)
    looks(one, drivers)
    assert [i for i, driver in drivers.items() if driver.replaced] == list(range(10 - AT_ONCE, 10))
    one.tick(one._look_at - 0.1, drivers)
    assert one.count == AT_ONCE


def test_while_a_shard_is_away_nobody_is_replaced():
    """After an outage, and until those replaced last are back."""
    drivers = {0: Driver(500_000), 1: Driver(500_000)}
    drivers[1].is_up = False
    one = Relief(100_000)
    looks(one, drivers, 5)
    assert one.count == 0


def test_without_the_option_nobody_looks():
    """None is the default."""
    drivers = {0: Driver(500_000)}
    one = Relief(None)
    looks(one, drivers, 5)
    assert one.count == 0


@pytest.mark.parametrize("bad", [0, 1_000, -1, True, "100000", 1e6])
def test_a_bound_that_nobody_can_mean(bad):
    """Every connection needs some."""
    with FakeGatewayOptions() as fake, pytest.raises(UsageError, match="relief_bytes="):
        gateway_to(fake, relief_bytes=bad)


class FakeGatewayOptions:
    """What `gateway_to` asks of a fake gateway, where none is needed."""

    info = None
    client_ssl_context = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("tls", [False, True])
async def test_a_bloated_connection_is_replaced(tls, monkeypatch):
    """The buffer is as small as at the beginning; nothing is lost, and no identify is spent."""
    monkeypatch.setattr(relief, "LOOK_S", 0.0)
    async with FakeGateway(tls=tls, max_concurrency=2) as fake:
        gateway = gateway_to(
            fake, shards=2, compress="none", relief_bytes=100_000, random=no_jitter,
            identify_queue=quick_queue(2),
        )  # fmt: skip
        seen = []
        gateway.on("GUILD_CREATE", "MESSAGE_CREATE")(lambda event: seen.append(event.sequence))
        async with gateway:
            fake.dispatch("GUILD_CREATE", {"x": "y" * 300_000}, guild_id=1 << 22)
            await until(lambda: len(seen) == 1)
            assert inside(gateway, 1).driver.load()[0] > 100_000
            await until(lambda: gateway.stats().relieved == 1, 15.0)
            await until(lambda: gateway.shards[1].stats().resumes_won == 1, 15.0)
            assert inside(gateway, 1).driver.load()[0] < 100_000
            fake.dispatch("MESSAGE_CREATE", {}, guild_id=1 << 22)
            await until(lambda: len(seen) == 2)
            assert gateway.shards[0].stats().connections == 1
        assert len(fake.identifies) == 2
