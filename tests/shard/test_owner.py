"""The one task of a shard that connects: when it makes an attempt, and what ends it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from invented_time import InventedTimeLoop

from fastgw.errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    InvalidShard,
    NotCompressed,
)
from fastgw.protocol.session import Plan
from fastgw.protocol.signals import Cause, Outcome
from fastgw.shard.compression import Compression
from fastgw.shard.owner import Owner
from fastgw.shard.reconnect import ReconnectPolicy
from fastgw.words import Action

IDENTIFY = Plan("wss://gateway.example", False, False)
RESUME = Plan("wss://gateway.example", True, False)
STOP = Outcome(Action.STOP, cause=Cause.STOPPED)
LOST = Outcome(Action.RESUME, cause=Cause.CONNECTION_LOST)


class Door:
    """The way to an identify queue that always has a turn, unless it was told to fail."""

    def __init__(self, story):
        self.story = story
        self.failures = []
        self.is_stuck = False

    async def acquire(self, shard_id):
        self.story.append(("asked", shard_id))
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop(0)
        return self

    def written(self):
        self.story.append(("written",))

    def release(self):
        self.story.append(("released",))


class Attempts:
    """A shard whose attempts end as it is told, each after a second; then it is stopped."""

    def __init__(self, ends, *, plan=RESUME, seconds=1.0):
        self.ends = list(ends)
        self.plans = plan
        self.seconds = seconds
        self.is_stopped = False
        self.began_at = []
        self.planned_at = []
        self.story = []
        self.stopped_with = []

    def plan(self, now):
        self.planned_at.append(now)
        return self.plans

    async def attempt(self, plan, turn):
        assert plan is self.plans
        assert (turn is None) is plan.resume
        self.story.append(("attempt",))
        self.began_at.append(time.monotonic())
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.story.append(("cancelled",))
            raise
        end = self.ends.pop(0)
        self.is_stopped = not self.ends
        if isinstance(end, Exception):
            raise end
        return end if isinstance(end, tuple) else (end, 0)

    def queue_failed(self, error):
        self.story.append(("queue failed", error))

    def failed(self, bug):
        self.story.append(("failed", bug))

    def stopped(self, error):
        self.stopped_with.append(error)


class World:
    """An owner and all that it has to do with, on a clock that is invented."""

    def __init__(self, shard, *, was_ready=False, compress=None):
        self.shard = shard
        self.door = Door(shard.story)
        self.compression = Compression(compress, shards=1)
        self.policy = ReconnectPolicy(lambda: 1.0)  # the longest of every delay
        self.host = SimpleNamespace(was_ready=was_ready)
        setup = SimpleNamespace(gate=self.door, compression=self.compression)
        self.owner = Owner(shard, 7, setup, self.policy, self.host)

    async def until_it_ends(self):
        self.owner.start()
        while not self.shard.stopped_with:  # noqa: ASYNC110  (the loop jumps from timer to timer)
            await asyncio.sleep(0.5)
        await self.owner.stop(1.0)


@pytest.fixture
def run(monkeypatch):
    """Run a coroutine on a loop whose clock, and everybody's, is invented and begins at 0."""
    loop = InventedTimeLoop()
    monkeypatch.setattr(time, "monotonic", loop.time)
    yield loop.run_until_complete
    left = asyncio.all_tasks(loop)
    loop.close()
    assert not left


# ---------------------------------------------------------------------------- one after another


def test_it_begins_again_and_again_until_the_shard_is_stopped(run):
    """One attempt at a time; the stop was asked for, so there is no error."""
    shard = Attempts([(LOST, 0), (LOST, 0), (LOST, 0)])
    world = World(shard)
    run(world.until_it_ends())
    assert shard.began_at == [0.0, 1.0, 2.0]
    assert shard.stopped_with == [None]


def test_an_end_that_says_stop_is_the_last(run):
    """Although the shard is not stopped for anything else."""
    shard = Attempts([STOP, LOST])
    run(World(shard).until_it_ends())
    assert len(shard.began_at) == 1
    assert shard.stopped_with == [None]


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("no", close_code=4004), OSError("no"), None]
)
def test_the_reason_of_a_stop_is_told_where_it_is_one_of_ours(run, error):
    """Any other is in the figures, and no reason to stop."""
    shard = Attempts([Outcome(Action.STOP, error=error), LOST])
    run(World(shard).until_it_ends())
    assert shard.stopped_with == [error if isinstance(error, AuthenticationFailed) else None]


def test_it_waits_until_an_attempt_is_due_and_plans_anew(run):
    """The session may have grown too old meanwhile."""
    shard = Attempts([LOST])
    world = World(shard)
    world.policy.connection_ended(Outcome(Action.RESUME, delay_s=7.0), 0.0)
    run(world.until_it_ends())
    assert shard.planned_at == [0.0, 7.0]
    assert shard.began_at == [7.0]


def test_a_stop_during_the_wait_is_obeyed_at_its_end(run):
    """No attempt follows."""
    shard = Attempts([LOST])
    world = World(shard)
    world.policy.connection_ended(Outcome(Action.RESUME, delay_s=7.0), 0.0)

    async def main():
        asyncio.get_running_loop().call_later(3.0, setattr, shard, "is_stopped", True)
        await world.until_it_ends()

    run(main())
    assert shard.began_at == []
    assert shard.planned_at == [0.0]
    assert shard.stopped_with == [None]


@pytest.mark.parametrize("at", [0.5, 3.5])
def test_it_holds_back_as_long_as_it_is_told(run, at):
    """After an error of our own; nothing is planned before."""
    shard = Attempts([LOST])
    world = World(shard)
    world.owner.hold_until(at)
    run(world.until_it_ends())
    assert shard.planned_at == shard.began_at == [at]


def test_a_stop_while_it_holds_back_is_obeyed_at_its_end(run):
    """Nothing is planned any more."""
    shard = Attempts([LOST])
    world = World(shard)
    world.owner.hold_until(7.0)

    async def main():
        asyncio.get_running_loop().call_later(3.0, setattr, shard, "is_stopped", True)
        await world.until_it_ends()

    run(main())
    assert shard.planned_at == []
    assert shard.stopped_with == [None]


# ---------------------------------------------------------------------------- turns


def test_an_identify_takes_its_turn_first_and_gives_it_back(run):
    """Before the socket is opened, and after its end; a resume takes none."""
    shard = Attempts([LOST], plan=IDENTIFY)
    run(World(shard).until_it_ends())
    assert shard.story == [("asked", 7), ("attempt",), ("released",)]


def test_the_turn_goes_back_when_the_attempt_raises(run):
    """A bug of ours costs nobody a turn."""
    shard = Attempts([ValueError("a bug"), LOST], plan=IDENTIFY)
    run(World(shard).until_it_ends())
    assert [what for what, *_ in shard.story] == [
        "asked", "attempt", "released", "failed", "asked", "attempt", "released",
    ]  # fmt: skip


def test_a_queue_that_fails_is_asked_again_after_a_backoff(run):
    """And its error is told; 1 and 2 seconds here."""
    shard = Attempts([LOST], plan=IDENTIFY)
    world = World(shard)
    errors = [ConnectionError("away"), ConnectionError("still away")]
    world.door.failures = list(errors)
    run(world.until_it_ends())
    assert [rest for what, *rest in shard.story if what == "queue failed"] == [[e] for e in errors]
    assert shard.began_at == [3.0]


def test_a_door_that_is_shut_stops_the_shard(run):
    """case 29: the error that shut it is why."""
    shard = Attempts([LOST], plan=IDENTIFY)
    world = World(shard)
    refused = InvalidShard("not for this bot", close_code=4010, shard_id=3)
    world.door.failures = [refused]
    run(world.until_it_ends())
    assert shard.stopped_with == [refused]
    assert shard.story == [("asked", 7)]


# ---------------------------------------------------------------------------- what goes wrong


def test_a_bug_costs_an_attempt(run):
    """It is told, and the next one begins: how late is up to whoever was told."""
    bug = ValueError("a bug")
    shard = Attempts([bug, LOST])
    run(World(shard).until_it_ends())
    assert shard.story == [("attempt",), ("failed", bug), ("attempt",)]
    assert shard.stopped_with == [None]


@pytest.mark.parametrize(
    ("error", "was_ready", "attempts"),
    [
        (CertificateRefused("not trusted"), False, 1),
        (CertificateRefused("not trusted"), True, 2),
        (ConnectFailed("refused"), False, 2),
    ],
)
def test_a_wrong_configuration_is_not_tried_for_ever(run, error, was_ready, attempts):
    """Before anything ever worked, that is; later it is a bad moment, and passes."""
    shard = Attempts([Outcome(Action.IDENTIFY, error=error), LOST])
    run(World(shard, was_ready=was_ready).until_it_ends())
    assert len(shard.began_at) == attempts
    assert shard.stopped_with == [error if attempts == 1 else None]


@pytest.mark.parametrize(
    ("compress", "messages", "attempts"), [(None, 1, 2), (None, 2, 1), ("zlib-stream", 1, 1)]
)
def test_an_answer_in_text_is_tried_without_compression(run, compress, messages, attempts):
    """Where nobody insists on it, and it was the first word of the connection."""
    end = Outcome(Action.IDENTIFY, error=NotCompressed("zlib-stream"))
    shard = Attempts([(end, messages), LOST])
    run(World(shard, compress=compress).until_it_ends())
    assert len(shard.began_at) == attempts


# ---------------------------------------------------------------------------- the end


def test_an_owner_that_never_began_is_stopped_at_once(run):
    """There is nothing to wait for."""
    run(World(Attempts([LOST])).owner.stop(100.0))
    assert time.monotonic() == 0.0


@pytest.mark.parametrize(
    ("patience_s", "took_s"), [(100.0, 10.0), (4.0, 4.0), (0.5, 0.5), (0.0, 0.0)]
)
def test_a_stop_waits_for_the_end_of_an_attempt_as_long_as_it_may(run, patience_s, took_s):
    """Then it cancels; with no patience at once."""
    shard = Attempts([STOP], seconds=10.0)
    world = World(shard)

    async def main():
        world.owner.start()
        await asyncio.sleep(0)
        await world.owner.stop(patience_s)
        assert shard.stopped_with == [None]

    run(main())
    assert time.monotonic() == took_s
    assert shard.story == [("attempt",)] + [("cancelled",)] * (patience_s < 10.0)


def test_who_waits_for_a_turn_can_be_stopped(run):
    """It holds nothing, and the shard hears that it is over."""
    shard = Attempts([LOST], plan=IDENTIFY)
    world = World(shard)
    world.door.is_stuck = True

    async def main():
        world.owner.start()
        await asyncio.sleep(1.0)
        await world.owner.stop(0.0)

    run(main())
    assert shard.story == [("asked", 7)]
    assert shard.stopped_with == [None]
