"""The driver of a shard alone: reading, the figures, and what the store is told."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from fastgw.connection.websocket import CloseInfo
from fastgw.delivery.ledger import Delivery
from fastgw.errors import ConnectFailed
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.words import Initiator


def cut(world):
    """Let the network end the connection."""
    world.connection.end()


# ---------------------------------------------------------------------------- reading


def test_reading_stops_for_the_program_and_for_the_marks(play):
    """The program's wish ends with its connection, that of the marks does not."""

    async def script(world):
        world.driver.pause_reading()  # nothing to pause yet
        connection = await world.ready()
        assert not connection.is_reading_paused
        world.driver.pause_reading()
        assert connection.is_reading_paused
        assert world.driver.health(time.monotonic()).reading_paused_by == (
            "asked for by the program",
        )
        world.driver.resume_reading()
        assert not connection.is_reading_paused
        world.driver.pause_reading()
        cut(world)
        connection = await world.ready()
        assert not connection.is_reading_paused
        world.delivery.ledgers[3].on_hold(True)
        assert connection.is_reading_paused
        cut(world)
        connection = await world.ready()
        assert connection.is_reading_paused
        world.delivery.ledgers[3].on_hold(False)
        assert not connection.is_reading_paused

    play(script)


def test_a_pause_that_is_asked_for_on_the_way_up_begins_at_ready(play):
    """What waits for the session could never end before."""

    async def script(world):
        world.driver.start()
        await world.until(lambda: world.driver.status is State.AWAITING_HELLO)
        world.driver.pause_reading()
        assert not world.connection.is_reading_paused
        connection = await world.ready()
        assert connection.is_reading_paused

    play(script)


def test_a_connection_that_closes_is_not_paused(play):
    """The wish would stay for the next one."""

    async def script(world):
        connection = await world.ready()
        connection.is_open = False
        world.driver.pause_reading()
        assert world.driver.health(time.monotonic()).reading_paused_by == ()

    play(script)


def test_the_load_is_that_of_a_ready_connection(play):
    """Else there is none."""

    async def script(world):
        world.driver.start()
        await world.until(lambda: world.driver.status is State.IDENTIFYING)
        assert world.driver.load() is None
        connection = await world.ready()
        assert world.driver.load() == (4_096, connection.bytes_received())
        cut(world)
        assert world.driver.load() is None

    play(script)


# ---------------------------------------------------------------------------- figures


def test_the_figures_follow_the_connection(play):
    """Bytes and buffers while there is one; what was counted stays."""

    async def script(world):
        now = time.monotonic()
        assert world.driver.health(now).buffer_bytes == 0
        connection = await world.ready()
        connection.dispatch("MESSAGE_CREATE")
        await asyncio.sleep(1.0)
        health = world.driver.health(time.monotonic())
        assert health.last_byte_age_s == 0.0
        assert world.driver.stats().bytes_received == connection.bytes_received()
        assert world.driver.stats().dispatches == 2
        decoder = world.dials[-1].decoder
        decoder.feed(b'{"op":0,', 1, False)  # a fragment, which the decoder keeps
        assert decoder.buffer_capacity > 0
        health = world.driver.health(time.monotonic())
        assert health.buffer_bytes == 512 + decoder.buffer_capacity
        cut(world)
        await world.until(lambda: world.driver.status is State.CONNECTING)
        assert world.driver.health(time.monotonic()).buffer_bytes == (
            world.dials[-1].decoder.buffer_capacity
        )
        await world.ready()
        assert world.driver.stats().bytes_received > connection.bytes_received()
        assert world.driver.stats().connections == 2

    play(script)


def test_what_came_just_before_the_end_is_in_the_figures(play):
    """Nobody looked between the two."""

    async def script(world):
        connection = await world.ready()
        await asyncio.sleep(10.0)
        connection.dispatch("MESSAGE_CREATE")
        cut(world)
        world.opens_s = 5.0
        await asyncio.sleep(3.0)
        assert world.driver.health(time.monotonic()).last_byte_age_s == 3.0

    play(script)


def test_nothing_is_kept_of_connections_whose_sockets_are_gone(play):
    """A shard may have thousands of them in its life."""

    async def script(world):
        for _ in range(3):
            await world.ready()
            cut(world)
        await world.ready()
        assert not world.driver._unsettled

    play(script)


def test_a_tick_looks_at_bytes_and_at_the_clocks(play):
    """A machine that slept has no connection any more; before there is one it says nothing."""

    async def script(world):
        world.driver.tick(time.monotonic(), 1_000.0)
        connection = await world.ready()
        await asyncio.sleep(2.0)
        connection._bytes += 100
        world.driver.tick(time.monotonic(), 1_000.0)
        at = time.monotonic()
        await asyncio.sleep(2.0)
        world.driver.tick(time.monotonic(), 1_002.0)
        assert world.driver.health(time.monotonic()).last_byte_age_s == time.monotonic() - at
        world.driver.tick(time.monotonic() + 1.0, 5_000.0)
        assert connection.aborted_at == time.monotonic()
        await world.ready()
        assert world.driver.stats().reconnects == {Cause.SLEPT.value: 1}

    play(script)


def test_an_attempt_without_a_connection_received_nothing(play):
    """Not a byte."""

    async def script(world):
        world.refusals = [ConnectFailed("no")]
        world.driver.start()
        await world.until(lambda: len(world.dials) == 2)
        assert world.driver.health(time.monotonic()).last_byte_age_s is None

    play(script)


@pytest.mark.parametrize("stores_handled", [False, True])
def test_what_the_store_is_told_is_received_or_handled(play, stores_handled):
    """A new session begins anew, whatever of the old one is not handled."""

    async def script(world):
        assert world.driver.stored_sequence() is None
        await world.ready()
        assert world.driver.stored_sequence() == 1
        world.connection.dispatch("MESSAGE_CREATE")
        assert world.driver.stored_sequence() == 2
        cut(world)
        assert world.driver.stored_sequence() is None

    play(script, stores_handled=stores_handled)


@pytest.mark.parametrize(("stores_handled", "told"), [(False, 3), (True, 1)])
def test_what_a_handler_has_in_hand_is_not_handled(play, stores_handled, told):
    """The store is told so if it asks; what is left of an old session holds up no new one."""

    async def script(world):
        await world.ready()
        in_hand = SimpleNamespace(sequence=2, message_bytes=100, shard_id=3)
        Delivery(None, in_hand, (), world.delivery.ledgers[3]).open()
        for _ in range(2):
            world.connection.dispatch("MESSAGE_CREATE")
        assert world.driver.stored_sequence() == told
        world.connection.serve(Opcode.INVALID_SESSION, False)
        await world.until(lambda: world.count(Opcode.IDENTIFY) == 2)
        await world.ready()
        for _ in range(2):
            world.connection.dispatch("MESSAGE_CREATE")
        assert world.driver.stored_sequence() == 3

    play(script, stores_handled=stores_handled)


@pytest.mark.parametrize(
    ("info", "counted"),
    [
        (CloseInfo(4000, "", Initiator.SERVICE), {4000: 1}),
        (CloseInfo(4000, "", Initiator.CLIENT), {}),
        (CloseInfo(None, "", Initiator.SERVICE), {}),
        (None, {}),
    ],
)
def test_close_codes_of_the_service_are_counted(play, info, counted):
    """Not ours, and not the ends without one."""

    async def script(world):
        await world.ready()
        world.connection.end(info)
        await world.ready()
        assert world.driver.stats().close_codes == counted

    play(script)
