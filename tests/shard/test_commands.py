"""The send queue of a shard, with invented time."""

import asyncio

import pytest
from invented_time import run_in_invented_time

from fastgw.errors import SendQueueFull, SessionLost
from fastgw.shard.budget import SendBudget
from fastgw.shard.commands import CommandQueue


class Wire:
    """Writes down what is sent and when; breaks on demand."""

    def __init__(self):
        self.sent = []
        self.broken = False

    def __call__(self, command):
        if self.broken:
            raise ConnectionError("gone")
        self.sent.append(command)


def in_loop(test):
    """Run a coroutine test in invented time, with a fresh queue and wire."""

    def run():
        async def main():
            await test(CommandQueue(SendBudget(limit=5, window_s=60.0), limit=10), Wire())

        run_in_invented_time(main())

    run.__doc__ = test.__doc__
    return run


@in_loop
async def test_commands_wait_until_the_session_is_up(queue, wire):
    """case 37: before READY or RESUMED nothing of users' goes."""
    written = queue.put(b"a")
    queue.pump(0.0, wire)
    assert wire.sent == []
    assert queue.timer_at(0.0) is None
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"a"]
    assert written.done()


@in_loop
async def test_urgent_commands_go_first_and_need_no_session(queue, wire):
    """Heartbeat, identify and resume overtake everything."""
    queue.is_open = True
    queue.put(b"a")
    queue.put_urgent(b"beat")
    queue.pump(0.0, wire)
    assert wire.sent == [b"beat", b"a"]


@in_loop
async def test_commands_go_in_order_as_the_budget_allows(queue, wire):
    """Seven commands, five a minute: the last two wait for the first to leave the window."""
    queue.is_open = True
    for at, name in enumerate(b"abcdefg"):
        queue.put(bytes([name]))
        queue.pump(float(at), wire)
    assert b"".join(wire.sent) == b"abcde"
    assert queue.timer_at(6.0) == 60.0
    queue.pump(60.0, wire)
    assert b"".join(wire.sent) == b"abcdef"
    assert queue.timer_at(60.0) == 61.0
    queue.pump(61.0, wire)
    assert b"".join(wire.sent) == b"abcdefg"
    assert queue.timer_at(61.0) is None


@in_loop
async def test_a_cancelled_command_is_not_sent_and_costs_nothing(queue, wire):
    """Who gives up takes the command back, wherever it stands in the queue."""
    waiting = [queue.put(bytes([name])) for name in b"abc"]
    waiting[0].cancel()
    waiting[2].cancel()
    assert len(queue) == 1
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"b"]
    assert queue.budget.sent_in_window(0.0) == 1


@in_loop
async def test_a_cancelled_command_needs_no_timer(queue, wire):
    """With nothing else to write there is nothing to wake up for."""
    queue.is_open = True
    queue.put(b"a").cancel()
    assert queue.timer_at(0.0) is None


@in_loop
async def test_the_queue_is_bounded(queue, wire):
    """One too many is a typed error that names the limit; a cancelled one makes room."""
    waiting = [queue.put(b"x") for _ in range(10)]
    with pytest.raises(SendQueueFull, match="10 commands wait") as caught:
        queue.put(b"y")
    assert caught.value.limit == 10
    waiting[4].cancel()
    queue.put(b"y")


@in_loop
async def test_commands_outlive_a_connection(queue, wire):
    """case 38: what waits goes out after the resume; the new connection has a whole budget."""
    queue.is_open = True
    for name in b"abcdefg":
        queue.put(bytes([name]))
    queue.pump(0.0, wire)
    queue.put_urgent(b"beat")
    queue.new_connection()
    queue.pump(1.0, wire)
    assert len(wire.sent) == 5
    queue.is_open = True
    queue.pump(1.0, wire)
    assert b"".join(wire.sent) == b"abcdefg"


@in_loop
async def test_commands_fail_with_their_session(queue, wire):
    """case 37: all that wait get the error; those written or cancelled before are not touched."""
    queue.is_open = True
    done = queue.put(b"a")
    queue.pump(0.0, wire)
    queue.is_open = False
    waiting, cancelled = queue.put(b"b"), queue.put(b"c")
    cancelled.cancel()
    queue.fail(SessionLost("gone"))
    assert done.result() is None
    with pytest.raises(SessionLost):
        await waiting
    assert len(queue) == 0


@in_loop
async def test_a_command_whose_write_failed_is_still_queued(queue, wire):
    """The socket closed under the write: the command goes out on the next connection."""
    queue.is_open = True
    written = queue.put(b"a")
    wire.broken = True
    with pytest.raises(ConnectionError):
        queue.pump(0.0, wire)
    assert not written.done()
    wire.broken = False
    queue.new_connection()
    queue.is_open = True
    queue.pump(1.0, wire)
    assert wire.sent == [b"a"]


@in_loop
async def test_an_urgent_command_waits_only_for_the_whole_limit(queue, wire):
    """With the window full it is held, announced by the timer, and sent before anything else."""
    queue.is_open = True
    for name in b"abcdef":
        queue.put(bytes([name]))
    queue.pump(0.0, wire)
    queue.put_urgent(b"beat")
    queue.pump(1.0, wire)
    assert queue.timer_at(1.0) == 60.0
    queue.pump(60.0, wire)
    assert wire.sent[5:] == [b"beat", b"f"]


@in_loop
async def test_waiters_are_woken_in_order(queue, wire):
    """Fair: who asked first is served first."""
    order = []

    async def send(name):
        await queue.put(name)
        order.append(name)

    tasks = [asyncio.ensure_future(send(bytes([name]))) for name in b"abcde"]
    await asyncio.sleep(0)
    queue.is_open = True
    queue.pump(0.0, wire)
    await asyncio.gather(*tasks)
    assert order == wire.sent
