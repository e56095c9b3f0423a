"""What a publisher of events may ask of the shards whose events they are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from deadline import until

from fastgw.errors import ShardNotHere
from fastgw.fleet.publishing import PublishedShards, open_publisher
from fastgw.protocol.identity import Identity


class Driver:
    """Of a shard with a session; it writes down what is done to it."""

    def __init__(self, session_id="s"):
        self.session = None if session_id is None else SimpleNamespace(session_id=session_id)
        self.done = []

    def reconnect(self, from_sequence):
        self.done.append(("reconnect", from_sequence))

    def deafen(self):
        self.done.append("deafen")

    async def close(self, *, keep_session):
        self.done.append(("close", keep_session))


class Fleet:
    """Runs shard 1, with a session, and shard 2, without."""

    def __init__(self):
        self.drivers = {1: Driver(), 2: Driver(None)}
        self.refused = []

    def refuse(self, error):
        self.refused.append(error)

    def running(self, shard_id):
        if shard_id not in self.drivers:
            raise ShardNotHere(shard_id, list(self.drivers))
        return self.drivers[shard_id]


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def shards(fleet):
    return PublishedShards(fleet)


def test_which_shards_and_sessions_are_here(fleet, shards):
    """Of a shard that runs elsewhere there is none."""
    assert [shards.is_here(i) for i in (0, 1, 2)] == [False, True, True]
    assert [shards.session_id(i) for i in (1, 2)] == ["s", ""]
    assert shards.fleet is fleet
    with pytest.raises(ShardNotHere):
        shards.session_id(0)


def test_a_session_is_resumed_from_an_earlier_sequence(fleet, shards):
    """By its driver, which takes nothing more of its connection first."""
    assert shards.rewind(1, "s", 40)
    assert fleet.drivers[1].done == [("reconnect", 40)]


@pytest.mark.parametrize(("shard_id", "session_id"), [(0, "s"), (1, "t"), (2, "s"), (0, "")])
def test_another_session_is_left_alone(fleet, shards, shard_id, session_id):
    """The shard left, or identified meanwhile."""
    assert not shards.rewind(shard_id, session_id, 40)
    assert not any(driver.done for driver in fleet.drivers.values())


async def test_a_shard_of_another_process_is_stopped(fleet, shards):
    """It hands out nothing more, and its session stays."""
    shards.stop(1)
    assert fleet.drivers[1].done == ["deafen"]
    assert len(shards._stops) == 1  # a loop keeps no task alive
    await until(lambda: ("close", True) in fleet.drivers[1].done)
    await until(lambda: not shards._stops)


def test_a_publisher_that_can_never_work_ends_the_fleet(fleet, shards):
    """With its error."""
    shards.refuse("an error")
    assert fleet.refused == ["an error"]


async def test_one_that_has_left_needs_no_stop(fleet, shards):
    """Both happen at the same time."""
    shards.stop(0)
    assert not shards._stops


async def test_a_publisher_is_opened_with_these_shards(fleet):
    """If there is one; and it learns whose they are."""
    opened, identity = [], Identity(token="MTIzNDU2Nzg5MDEyMzQ1Njc4.x.y", intents=0)

    async def open_(handlers, shards):
        opened.append((handlers, shards.fleet, shards.bot_id))

    await open_publisher(SimpleNamespace(open=open_), "handlers", fleet, identity)
    await open_publisher(None, "handlers", fleet, identity)
    assert opened == [("handlers", fleet, 123456789012345678)]
