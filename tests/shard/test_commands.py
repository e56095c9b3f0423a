"""The send queue of a shard, with invented time."""

import asyncio

import pytest
from invented_time import run_in_invented_time

from fastgw.errors import SendQueueFull, SessionLost
from fastgw.protocol.wire import Opcode
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
    room = queue.budget.room(0.0)
    waiting = [queue.put(bytes([name])) for name in b"abc"]
    waiting[0].cancel()
    waiting[2].cancel()
    assert len(queue) == 1
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"b"]
    assert queue.budget.room(0.0) == room - 1


@in_loop
async def test_a_cancelled_command_needs_no_timer(queue, wire):
    """With nothing else to write there is nothing to wake up for."""
    queue.is_open = True
    queue.put(b"a").cancel()
    assert queue.timer_at(0.0) is None


@in_loop
async def test_the_queue_is_bounded(queue, wire):
    """One too many is a typed error that names the limit; a cancelled one makes room."""
    waiting = [queue.put(b"x", may_wait=False) for _ in range(10)]
    with pytest.raises(SendQueueFull, match="10 commands wait") as caught:
        queue.put(b"y", may_wait=False)
    assert caught.value.limit == 10
    waiting[4].cancel()
    queue.put(b"y", may_wait=False)


@in_loop
async def test_who_waits_for_room_is_never_refused(queue, wire):
    """Beyond the limit too, and in the order of the calls."""
    queue.is_open = True
    waiting = [queue.put(b"%d" % n) for n in range(30)]
    for minute in range(6):
        queue.pump(minute * 60.0, wire)
    assert wire.sent == [b"%d" % n for n in range(30)]
    assert all(written.done() for written in waiting)


@in_loop
async def test_cancelled_commands_are_not_kept(queue, wire):
    """Nobody sends for hours, and everybody gives up after a while: nothing piles up."""
    for _ in range(1_000):
        queue.put(b"x").cancel()
    queue.put(b"y")
    assert len(queue) == 1
    assert len(queue._others) < 100


@in_loop
async def test_those_who_wait_are_not_looked_at_for_each_new_one(queue, wire):
    """The next sweep comes when as many again have come: what it costs is shared by all."""
    for _ in range(1_000):
        queue.put(b"x")
    assert len(queue) == 1_000
    assert queue._sweep_at > 1_000


@in_loop
async def test_presences_that_nobody_waits_for_are_not_kept(queue, wire):
    """Whoever gave up, or wants another one for good by now; the last that is wanted stays."""
    for n in range(1_000):
        queue.want_presence(b"w%d" % n)
        queue.put(b"p", Opcode.PRESENCE_UPDATE, {}).cancel()
    assert len(queue._presence._offers) < 10
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"w999"]


@in_loop
async def test_the_latest_presence_wins(queue, wire):
    """Of those that wait one is written, and all of them are done."""
    room = queue.budget.room(0.0)
    waiting = [queue.put(b"p%d" % n, Opcode.PRESENCE_UPDATE, {}) for n in range(4)]
    assert len(queue) == 1
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"p3"]
    assert all(written.done() for written in waiting)
    assert queue.budget.room(0.0) == room - 1


@in_loop
async def test_the_latest_voice_state_of_each_guild_wins(queue, wire):
    """Whether the id is written as a number or a string."""
    for command, guild_id in ((b"a1", "1"), (b"b1", "2"), (b"a2", 1), (b"b2", "2")):
        queue.put(command, Opcode.VOICE_STATE_UPDATE, {"guild_id": guild_id})
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"a2", b"b2"]


@in_loop
async def test_a_cancelled_command_leaves_its_place_to_the_one_before(queue, wire):
    """Who gave up must not take somebody else's command with him."""
    first = queue.put(b"a1", Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"})
    queue.put(b"a2", Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"}).cancel()
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"a1"]
    assert first.done()


@in_loop
async def test_voice_goes_before_members(queue, wire):
    """However many wait: a person waits for the voice state."""
    queue.is_open = True
    for n in range(7):
        queue.put(b"m%d" % n, Opcode.REQUEST_GUILD_MEMBERS, {"guild_id": str(n)})
    queue.pump(0.0, wire)
    queue.put(b"p", Opcode.PRESENCE_UPDATE, {})
    queue.put(b"v", Opcode.VOICE_STATE_UPDATE, {"guild_id": "9"})
    queue.pump(60.0, wire)
    assert wire.sent == [b"m0", b"m1", b"m2", b"m3", b"m4", b"v", b"p", b"m5", b"m6"]


@in_loop
async def test_presences_keep_to_their_own_limit(queue, wire):
    """Five in 20 seconds, across connections; others pass one that waits."""
    queue.budget.limit = 100
    for n in range(6):
        queue.is_open = True
        queue.put(b"p%d" % n, Opcode.PRESENCE_UPDATE, {})
        queue.pump(float(n), wire)
        queue.new_connection()
    assert len(wire.sent) == 5
    queue.is_open = True
    queue.put(b"m", Opcode.REQUEST_GUILD_MEMBERS, {"guild_id": "1"})
    queue.pump(6.0, wire)
    assert wire.sent[5:] == [b"m"]
    assert queue.timer_at(6.0) == 20.5
    queue.pump(20.4, wire)
    assert len(wire.sent) == 6
    queue.pump(20.5, wire)
    assert wire.sent[6:] == [b"p5"]


@in_loop
async def test_a_wanted_presence_outlives_sessions(queue, wire):
    """A command of a moment fails with its session; what is wanted for good waits on."""
    queue.want_presence(b"wanted")
    sent = queue.put(b"sent", Opcode.PRESENCE_UPDATE, {})
    queue.fail(SessionLost("gone"))
    with pytest.raises(SessionLost):
        await sent
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"wanted"]


@in_loop
async def test_identify_says_the_wanted_presence(queue, wire):
    """Then it need not be sent; one that is wanted later is."""
    queue.want_presence(b"old")
    queue.identified()
    assert len(queue) == 0
    queue.want_presence(b"new")
    queue.is_open = True
    queue.pump(0.0, wire)
    assert wire.sent == [b"new"]


@in_loop
async def test_the_room_is_what_would_go_at_once(queue, wire):
    """What waits and what was written are taken off; without a session nothing goes."""
    assert queue.room(0.0) == 0
    queue.is_open = True
    assert queue.room(0.0) == 5
    queue.put(b"a")
    assert queue.room(0.0) == 4
    queue.pump(0.0, wire)
    assert queue.room(0.0) == 4
    for _ in range(7):
        queue.put(b"a")
    assert queue.room(0.0) == 0


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
async def test_nothing_is_kept_of_commands_that_failed(queue, wire):
    """Sessions may be lost for hours, one after another."""
    waiting = [queue.put(b"m"), queue.put(b"v", Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"})]
    queue.fail(SessionLost("gone"))
    assert all(isinstance(written.exception(), SessionLost) for written in waiting)
    assert (len(queue._voices), len(queue._others)) == (0, 0)


@in_loop
async def test_what_is_written_is_counted(queue, wire):
    """Urgent or not, with its bytes, across connections."""
    assert (queue.written, queue.written_bytes) == (0, 0)
    queue.is_open = True
    queue.put_urgent(b"beat")
    queue.put(b"abcdefg")
    queue.pump(0.0, wire)
    queue.new_connection()
    queue.put_urgent(b"beat")
    queue.pump(0.0, wire)
    assert (queue.written, queue.written_bytes) == (3, 15)


@in_loop
async def test_an_answer_that_was_counted_is_not_counted_again(queue, wire):
    """Whoever took its place in the budget says so."""
    for _ in range(4):
        assert queue.budget.take_answer(0.0)
        queue.put_urgent(b"beat", is_counted=True)
    queue.pump(0.0, wire)
    assert len(wire.sent) == 4
    assert queue.budget.take_urgent(0.0)
    assert not queue.budget.take_urgent(0.0)


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
async def test_an_urgent_command_whose_write_failed_is_still_queued(queue, wire):
    """Only a new connection forgets it: a heartbeat is out of the queue when it is written."""
    queue.put_urgent(b"beat")
    wire.broken = True
    with pytest.raises(ConnectionError):
        queue.pump(0.0, wire)
    wire.broken = False
    queue.pump(1.0, wire)
    assert wire.sent == [b"beat"]


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
