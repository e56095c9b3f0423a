"""Callers of a shared identify queue: in line, one asking; who leaves takes nothing along."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from deadline import scaled, until

from fastgw.fleet.turns.turn_lines import LastSeen, TurnLines


class Desk:
    """A desk that gives a turn when it is told to; of one key after the other."""

    def __init__(self, last=None):
        self.last = last
        self.asked: list[int] = []
        self.told: list[tuple] = []
        self.free = 0  # turns that may be given
        self.error: Exception | None = None

    async def ask(self, attempt):
        self.asked.append(attempt.shard_id)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not self.free:
            return 0.001
        self.free -= 1
        attempt.number = len(self.asked)
        return None

    def take_back(self, attempt):
        self.told.append(("back", attempt.shard_id))

    def written(self, attempt):
        self.told.append(("written", attempt.shard_id))

    def released(self, attempt, *, is_written):
        self.told.append(("released", attempt.shard_id, is_written))

    def close(self):
        self.told.append(("closed",))


@pytest.fixture
def desks():
    """All desks that were opened."""
    return []


@pytest.fixture
def lines(desks):
    """Lines of one key."""

    def open_desk(last):
        desks.append(Desk(last))
        return desks[-1]

    return TurnLines(open_desk, LastSeen())


def waiting(lines, *shard_ids):
    """Let these wait, in this order."""
    return [asyncio.ensure_future(lines.acquire(shard_id)) for shard_id in shard_ids]


async def test_the_first_in_line_asks_for_itself_alone(lines, desks):
    """Again and again; the others ask nothing meanwhile."""
    callers = waiting(lines, 0, 1, 2)
    await until(lambda: desks and len(desks[0].asked) >= 3)
    assert set(desks[0].asked) == {0}
    desks[0].free = 3
    turns = await asyncio.gather(*callers)
    assert list(dict.fromkeys(desks[0].asked)) == [0, 1, 2]
    for turn in turns:
        turn.release()


async def test_keys_do_not_wait_for_each_other(desks):
    """Each has a line of its own."""
    lines = TurnLines(lambda last: desks.append(Desk()) or desks[-1], LastSeen(max_concurrency=2))
    callers = waiting(lines, 0, 1)
    await until(lambda: desks and set(desks[0].asked) == {0, 1})
    desks[0].free = 2
    for turn in await asyncio.gather(*callers):
        turn.release()


async def test_who_is_cancelled_is_taken_back_and_the_next_one_asks(lines, desks):
    """The desk may have been about to give the turn: it is told after the question."""
    first, second = waiting(lines, 0, 1)
    await until(lambda: desks and desks[0].asked)
    first.cancel()
    await until(lambda: 1 in desks[0].asked)
    assert desks[0].told == [("back", 0)]
    second.cancel()
    await asyncio.wait((first, second))
    assert desks[0].told[1:] == [("back", 1), ("closed",)]


async def test_who_is_cancelled_in_the_middle_of_the_line_leaves_it(lines, desks):
    """Nobody waits for it."""
    first, second, third = waiting(lines, 0, 1, 2)
    await until(lambda: desks and desks[0].asked)
    second.cancel()
    await asyncio.wait((second,))
    desks[0].free = 2
    for turn in await asyncio.gather(first, third):
        turn.release()
    assert 1 not in desks[0].asked


async def test_what_the_desk_raises_is_the_askers(lines, desks):
    """The next in line asks for itself."""
    first, second = waiting(lines, 0, 1)
    await until(lambda: desks and desks[0].asked)
    desks[0].error = ValueError("spent")
    with pytest.raises(ValueError, match="spent"):
        await first
    desks[0].free = 1
    (await second).release()
    assert desks[0].told[0] == ("back", 0)


async def test_the_desk_is_open_while_somebody_waits_or_holds(lines, desks):
    """The last to go closes it; who comes later opens another."""
    (caller,) = waiting(lines, 0)
    await until(lambda: bool(desks))
    desks[0].free = 1
    turn = await caller
    with lines.at_desk() as desk:
        assert desk is desks[0]
    assert ("closed",) not in desks[0].told
    turn.release()
    assert desks[0].told[-1] == ("closed",)
    assert lines.desk is None
    with lines.at_desk() as desk:
        assert desk is desks[1]
    assert desks[1].told == [("closed",)]
    assert desks[1].last is desks[0]  # which may have something to say first


async def test_a_turn_is_over_once(lines, desks):
    """And nothing is written behind its end."""
    (caller,) = waiting(lines, 0)
    await until(lambda: bool(desks))
    desks[0].free = 1
    turn = await caller
    turn.written()
    turn.release()
    turn.release()
    turn.written()
    assert desks[0].told == [("written", 0), ("released", 0, True), ("closed",)]


async def test_each_loop_has_lines_of_its_own(lines, desks):
    """A lock is of one loop; between loops the desk decides, as between processes."""
    (mine,) = waiting(lines, 0)
    await until(lambda: desks and desks[0].asked)
    got = []

    async def other():
        turn = await lines.acquire(1)
        got.append(turn)

    thread = threading.Thread(target=lambda: asyncio.run(other()))
    thread.start()
    await until(lambda: 1 in desks[0].asked)
    desks[0].free = 2
    turn = await mine
    await asyncio.to_thread(thread.join, scaled(20))
    assert len(got) == 1
    turn.release()
    got[0].release()


def test_loops_of_several_threads_have_one_desk():
    """Also where they come at the same moment: one that nobody closes would stay for ever."""
    opened, both = [], threading.Barrier(2)

    def open_desk(last):
        opened.append(desk := Desk(last))
        desk.free = 2
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # here another one would come in
        return desk

    lines = TurnLines(open_desk, LastSeen(max_concurrency=2))
    begun = threading.Barrier(2)

    def caller(shard_id):
        async def take():
            turn = await lines.acquire(shard_id)
            begun.wait(scaled(20))  # both have theirs
            turn.release()

        asyncio.run(take())

    threads = [threading.Thread(target=caller, args=(shard_id,)) for shard_id in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(20))
    assert len(opened) == 1
    assert opened[0].told[-1] == ("closed",)
