"""Errors of our own, and of what others hang into a shard: they cost a connection at most."""

import asyncio
import functools
import logging

import pytest
from deadline import scaled, until
from gateways import gateway_to as gateway_with
from gateways import no_jitter
from inside import inside

from fastgw.fleet.fleet import Fleet
from fastgw.fleet.turns.identify import IdentifyGate, LocalIdentifyQueue
from fastgw.protocol.machine import GatewayProtocol
from fastgw.protocol.states import State
from fastgw.shard.commands import CommandQueue
from fastgw.shard.counters import ShardCounters
from fastgw.shard.driver import ShardDriver
from fastgw.shard.link import Link
from fastgw.shard.reconnect import ReconnectPolicy

gateway_to = functools.partial(gateway_with, random=no_jitter, backoff_s=(0.001, 0.001))


class Bug(Exception):
    """What nobody expects."""


def break_once(monkeypatch, owner, name, *, call=1):
    """Let one call of a method raise, in any object of its class; return the list of its calls."""
    calls = []
    method = getattr(owner, name)

    def broken(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise Bug(f"{owner.__name__}.{name} is broken")
        return method(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, broken)
    return calls


async def comes_back(gateway):
    """Wait until a gateway is ready after whatever happened, and closes in good time."""
    await gateway.wait_ready(scaled(10.0))
    await asyncio.wait_for(gateway.close(), scaled(10.0))
    assert gateway.shards[0].status is State.STOPPED


async def test_whoever_leaves_at_hello_writes_no_identify(fake, own_errors):
    """A program that replaces the connection as soon as it is told of HELLO: no error of ours."""
    gateway = gateway_to(fake)
    replaced = []

    @gateway.on_status
    def told(change):
        if change.new is State.IDENTIFYING and not replaced:
            replaced.append(change)
            gateway.reconnect_shard(0)

    await gateway.start()
    await comes_back(gateway)
    assert len(replaced) == 1
    assert len(fake.identifies) == 1
    assert own_errors == []


STEPS = [
    (GatewayProtocol, "plan"), (GatewayProtocol, "connecting"), (GatewayProtocol, "opened"),
    (GatewayProtocol, "receive"), (GatewayProtocol, "identify"), (GatewayProtocol, "timer_at"),
    (GatewayProtocol, "commands_to_send"), (GatewayProtocol, "handle_timer"),
    (ShardCounters, "note"), (ShardCounters, "connection_began"),
    (ReconnectPolicy, "note"), (ReconnectPolicy, "attempt_at"),
    (ReconnectPolicy, "identify_written"), (CommandQueue, "put_urgent"), (CommandQueue, "pump"),
    (CommandQueue, "timer_at"), (CommandQueue, "new_connection"), (Fleet, "status_changed"),
    (ShardDriver, "_obey"), (ShardDriver, "_state_changed"), (ShardDriver, "_arm"),
    (Link, "__init__"), (Link, "run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("owner", "name"), STEPS, ids=[f"{owner.__name__}.{name}" for owner, name in STEPS]
)
@pytest.mark.parametrize("call", [1, 2])
async def test_a_step_that_fails_once_costs_an_attempt(
    monkeypatch, fake, own_errors, owner, name, call
):
    """case 54: whatever it is: it is logged as ours, tried again, and close() ends."""
    calls = break_once(monkeypatch, owner, name, call=call)
    gateway = gateway_to(fake)
    await gateway.start()
    while len(calls) < call:
        await gateway.wait_ready(scaled(10.0))
        connections = gateway.shards[0].stats().connections
        fake.close(4007)  # a new session, at once
        await until(lambda before=connections: gateway.shards[0].stats().connections > before)
    await comes_back(gateway)
    assert len(own_errors) == 1
    own_errors.clear()


@pytest.mark.parametrize(("owner", "name"), [(Fleet, "status_changed"), (ShardCounters, "note")])
async def test_a_step_that_always_fails_does_not_stand_in_the_way_of_close(
    monkeypatch, fake, own_errors, owner, name
):
    """Nothing ever works, and the gateway ends all the same."""
    broken = []

    def always(self, *args):
        broken.append(args)
        raise Bug("broken")

    monkeypatch.setattr(owner, name, always)
    gateway = gateway_to(fake)
    await gateway.start()
    await until(lambda: len(broken) > 10, 10.0)
    await asyncio.wait_for(gateway.close(), scaled(10.0))
    await gateway.wait_closed()
    assert own_errors
    own_errors.clear()


async def test_an_error_of_our_own_keeps_the_session(monkeypatch, fake, own_errors):
    """case 54: the connection is dropped without a word, resumed, and last_error has told why."""
    async with gateway_to(fake) as gateway:
        errors = []
        gateway.on_status(lambda change: errors.append(change.error) if change.error else None)
        break_once(monkeypatch, GatewayProtocol, "receive")
        fake.request_heartbeat()
        await until(lambda: fake.resumes, 10.0)
        await gateway.wait_ready(scaled(10.0))
        assert [type(error) for error in errors] == [Bug]
        assert len(fake.identifies) == 1
    assert "fastgw itself" in own_errors.pop()
    assert not own_errors


async def test_a_broken_log_filter_does_not_disturb(fake, capsys):
    """case 54: not once and not for ever: the lines go to stderr, the connection stays."""

    def broken(record):
        raise Bug("the log sink is down")

    log = logging.getLogger("fastgw.shard")
    log.addFilter(broken)
    log.setLevel(logging.INFO)
    try:
        async with gateway_to(fake) as gateway:
            assert gateway.shards[0].stats().connections == 1
    finally:
        log.removeFilter(broken)
        log.setLevel(logging.NOTSET)
    assert "the log sink is down" in capsys.readouterr().err


class BrokenTurn:
    """A turn of somebody else's queue."""

    def __init__(self, turn, broken):
        self._turn = turn
        self._broken = broken

    def written(self):
        self._turn.written()
        if self._broken == "written":
            raise ConnectionError("the queue is away")

    def release(self):
        self._turn.release()
        if self._broken == "release":
            raise ConnectionError("the queue is away")


class BrokenQueue(LocalIdentifyQueue):
    def __init__(self, broken):
        super().__init__(interval_s=0.02, padding_s=(0.0, 0.0))
        self._broken = broken

    async def acquire(self, shard_id):
        return BrokenTurn(await super().acquire(shard_id), self._broken)


@pytest.mark.parametrize("broken", ["written", "release"])
async def test_a_turn_that_fails_costs_nothing(fake, caplog, broken):
    """The queue is told what it must know, and what it answers is only logged."""
    async with gateway_to(fake, identify_queue=BrokenQueue(broken)) as gateway:
        assert gateway.shards[0].stats().connections == 1
    assert len(fake.identifies) == 1
    assert "the queue is away" in caplog.text


async def test_a_gate_that_cannot_be_shut_does_not_keep_a_refused_shard(
    monkeypatch, fake, own_errors
):
    """The shard stops for the reason that the service gave."""
    break_once(monkeypatch, IdentifyGate, "shut")
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready(scaled(10.0))
    fake.close(4004)
    await until(lambda: gateway.shards[0].error, 10.0)
    assert gateway.shards[0].error.close_code == 4004
    own_errors.clear()
    await gateway.close()


async def test_sending_is_not_hurt_by_an_error_of_our_own(monkeypatch, fake, own_errors):
    """The command waits for the next connection, and goes out there once."""
    async with gateway_to(fake) as gateway:
        break_once(monkeypatch, CommandQueue, "pump")
        await asyncio.wait_for(gateway.shards[0].send(4, {"n": 1}), scaled(10.0))
        await fake.wait_command(4)
        assert len(fake.resumes) == 1
    own_errors.clear()


async def test_an_owner_that_is_cancelled_in_the_middle_of_close_ends(fake):
    """close() returns, also when somebody cancels our task meanwhile."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready(scaled(10.0))
    closing = asyncio.ensure_future(gateway.close())
    # A matter of few turns of the loop.
    while gateway.shards[0].status is State.READY:  # noqa: ASYNC110
        await asyncio.sleep(0)
    inside(gateway).driver._owner._task.cancel()
    await asyncio.wait_for(closing, scaled(10.0))
