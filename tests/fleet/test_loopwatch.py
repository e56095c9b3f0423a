"""The loop watch: lag, and the stack of what blocks."""

import asyncio
import logging
import threading
import time
from types import SimpleNamespace

import pytest
from deadline import scaled, until

from fastgw.fleet import loopwatch
from fastgw.fleet.loopwatch import LoopWatch


@pytest.fixture
async def watch():
    ticks = []
    watch = LoopWatch(lambda: ticks.append(time.monotonic()), tick_s=0.01, blocked_s=scaled(0.2))
    watch.ticks = ticks
    watch.start()
    yield watch
    watch.stop()


def this_code_blocks_the_loop(is_enough):
    """However long the thread needs on a busy machine: the loop stands still until then."""
    end = time.monotonic() + scaled(30.0)
    while not is_enough() and time.monotonic() < end:
        time.sleep(0.01)


def reports(caplog):
    """Return the warnings about the code above; a busy machine may have its own in between."""
    return [r for r in caplog.records if "this_code_blocks_the_loop" in r.message]


async def test_it_ticks(watch):
    """On the loop, again and again."""
    await until(lambda: len(watch.ticks) >= 5)


async def test_a_loop_that_runs_is_not_blocked():
    """However busy the machine is beside it: nothing takes as long as this may."""
    ticks = []
    watch = LoopWatch(lambda: ticks.append(None), tick_s=0.01, blocked_s=scaled(60.0))
    watch.start()
    await until(lambda: len(ticks) >= 5)
    watch.stop()
    assert watch.blocked == 0


async def test_a_blocked_loop_is_reported_once_with_its_stack(watch, caplog):
    """case 23: one warning a blockage, while it lasts, that shows the code that blocks."""
    await until(lambda: watch.ticks)
    this_code_blocks_the_loop(lambda: reports(caplog))
    ticks = len(watch.ticks)
    await until(lambda: len(watch.ticks) > ticks + 1)
    (warning,) = reports(caplog)
    assert warning.levelno == logging.WARNING
    assert "has been blocked for" in warning.message
    assert watch.blocked >= 1
    assert watch.lag_worst_s >= scaled(0.2)


@pytest.mark.parametrize(
    ("looks", "reported"),
    [
        ([3.4, 3.5, 5.9], False),  # not silent for as long as is reported
        ([3.0, 6.0], False),  # at the first look it was not silent for half as long
        ([3.5, 6.0], True),
        ([5.9, 6.0], True),  # who blocks for little more than that is named, too
        ([100.0], False),  # a process that was stopped looks the same: it may run again
        ([100.0, 100.1], True),
        ([3.5, 6.0, 7.0, 100.0], True),
    ],
)
def test_silence_is_reported_at_the_second_look(caplog, looks, reported):
    """The last tick was at 0, the next is due at 1 s, and 5 s of silence are a blockage."""
    watch = LoopWatch(lambda: None, tick_s=1.0, blocked_s=5.0)
    for now in looks:
        watch._look(now, threading.get_ident())
    assert watch.blocked == len(caplog.records) == reported
    assert all("test_silence_is_reported" in record.message for record in caplog.records)


def test_what_an_interaction_would_die_of_is_reported():
    """It has to be answered within 3 s."""
    watch = LoopWatch(lambda: None)
    for now in (3.4, 3.6):
        watch._look(now, threading.get_ident())
    assert watch.blocked == 1


async def test_each_blockage_is_reported(watch, caplog):
    """The second one as well."""
    for count in (1, 2):
        ticks = len(watch.ticks)
        await until(lambda ticks=ticks: len(watch.ticks) > ticks + 1)
        this_code_blocks_the_loop(lambda count=count: len(reports(caplog)) == count)
    assert len(reports(caplog)) == 2


async def test_lag_and_its_worst(watch):
    """A short delay shows as lag, and stays in the worst of the last minute."""
    await until(lambda: watch.ticks)
    end = time.monotonic() + 0.06  # below what is reported
    this_code_blocks_the_loop(lambda: time.monotonic() >= end)
    await until(lambda: watch.lag_s < watch.lag_worst_s)
    assert watch.lag_worst_s > 0.03


async def test_code_that_keeps_the_interpreter_is_reported_afterwards(caplog):
    """Nobody could look at the stack meanwhile; the lag is told all the same."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=scaled(0.2))
    watch.start()
    watch._stop.set()  # the thread sees nothing, as if it never got to run
    watch._thread.join()
    end = time.monotonic() + scaled(0.3)
    this_code_blocks_the_loop(lambda: time.monotonic() >= end)
    await until(lambda: watch.blocked)
    watch.stop()
    assert "nothing could see why" in caplog.records[0].message


async def test_stop_ends_its_thread_and_ticks():
    """Nothing of it is left."""
    ticks = []
    watch = LoopWatch(lambda: ticks.append(1), tick_s=0.01, blocked_s=scaled(0.2))
    watch.start()
    (thread,) = (one for one in threading.enumerate() if one.name == "fastgw loop watch")
    assert thread.daemon
    watch.stop()
    assert not any(thread.name == "fastgw loop watch" for thread in threading.enumerate())
    count = len(ticks)
    await asyncio.sleep(0.05)
    assert len(ticks) == count


async def test_stop_does_not_wait_for_logging_that_waits_for_the_loop():
    """A handler may have the loop write its records, and stop() holds that up."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=scaled(0.2))
    watch.start()
    thread, held, is_free = watch._thread, threading.Event(), threading.Event()

    def hold(record):
        if threading.current_thread() is thread:
            held.set()
            is_free.wait(scaled(20.0))
        return True

    log = logging.getLogger("fastgw.loop")
    log.addFilter(hold)
    try:
        this_code_blocks_the_loop(held.is_set)
        watch.stop()
        assert thread.is_alive()
    finally:
        is_free.set()
        thread.join()
        log.removeFilter(hold)


def test_stop_without_start():
    """A gateway that never started has nothing to stop."""
    LoopWatch(lambda: None).stop()


def test_a_loop_that_has_ended_is_not_blocked(caplog):
    """case 61: who forgets close() is not told of a blockage, and leaves no thread behind."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=1.0)

    async def begin():
        watch.start()

    asyncio.run(begin())
    thread = watch._thread
    thread.join(scaled(5.0))
    assert not thread.is_alive()
    assert watch.blocked == 0
    assert caplog.records == []
    watch.stop()


def test_a_loop_that_runs_now_and_then_is_not_blocked(caplog):
    """case 61: a program that runs it in steps, as a notebook does."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=2.0)
    loop = asyncio.new_event_loop()

    async def begin():
        watch.start()

    loop.run_until_complete(begin())
    watch._ticked_at -= 3_600.0  # an hour later, and the thread has looked meanwhile
    end = time.monotonic() + scaled(10.0)
    while watch._reported != watch._ticks:
        assert time.monotonic() < end
        time.sleep(0.01)
    ticks = watch._ticks

    async def go_on():
        await until(lambda: watch._ticks > ticks + 3)

    loop.run_until_complete(go_on())
    watch.stop()
    loop.close()
    assert watch.blocked == 0
    assert caplog.records == []


# --- in invented time ----------------------------------------------------------------------------


class Invented:
    """A watch whose ticks come when the test says, on a clock of its own."""

    def __init__(self, **options):
        self.now = 0.0
        self.watch = LoopWatch(lambda: None, **options)
        self.loop = SimpleNamespace(call_later=lambda *_: SimpleNamespace(cancel=lambda: None))

    def tick(self, after_s):
        self.now += after_s
        self.watch._tick(self.loop)


@pytest.fixture
def invent(monkeypatch):
    def make(**options):
        invented = Invented(**options)
        clock = SimpleNamespace(monotonic=lambda: invented.now)
        monkeypatch.setattr(loopwatch, "time", clock)
        return invented

    return make


def test_lag_is_how_late_a_tick_comes(invent):
    """Nothing at first; an early one is not late."""
    one = invent(tick_s=1.0)
    watch = one.watch
    assert (watch.lag_s, watch.lag_worst_s, watch.blocked) == (0.0, 0.0, 0)
    lags = []
    for after_s in (1.0, 1.5, 0.75, 1.25):
        one.tick(after_s)
        lags.append((watch.lag_s, watch.lag_worst_s))
    assert lags == [(0.0, 0.0), (0.5, 0.5), (0.0, 0.5), (0.25, 0.5)]
    assert watch.lags.total_s == 0.75


@pytest.mark.parametrize(("tick_s", "ticks"), [(1.0, 60), (20.0, 3), (120.0, 1)])
def test_the_worst_lag_is_of_the_last_minute(invent, tick_s, ticks):
    """Or of the last tick, where they come more rarely."""
    one = invent(tick_s=tick_s)
    one.tick(tick_s + 2.0)
    for _ in range(ticks - 1):
        one.tick(tick_s)
        assert one.watch.lag_worst_s == 2.0
    one.tick(tick_s)
    assert one.watch.lag_worst_s == 0.0


def test_silence_is_by_how_much_a_tick_is_overdue(invent):
    """While it runs."""
    one = invent(tick_s=1.0)
    one.now = 5.0
    assert one.watch.silent_for_s == 0.0
    one.tick(0.0)
    for now, silent_for_s in ((5.5, 0.0), (6.0, 0.0), (7.5, 1.5)):
        one.now = now
        assert one.watch.silent_for_s == silent_for_s
    one.watch.stop()
    assert one.watch.silent_for_s == 0.0


def test_a_late_tick_that_nobody_reported_is_a_blockage(invent, caplog):
    """From the limit on, and each once."""
    one = invent(tick_s=1.0, blocked_s=5.0)
    one.tick(5.5)
    assert one.watch.blocked == 0
    for count in (1, 2):
        one.tick(6.0)
        assert one.watch.blocked == count
    for now in (one.now + 5.5, one.now + 6.5):
        one.watch._look(now, threading.get_ident())
    assert one.watch.blocked == 3
    one.tick(7.0)
    assert one.watch.blocked == 3
    assert len(caplog.records) == 3


def test_silence_after_the_first_tick_is_reported(invent):
    """As that before it."""
    one = invent(tick_s=1.0, blocked_s=5.0)
    one.tick(3.0)
    for now, blocked in ((4.0, 0), (5.0, 0), (8.5, 0), (9.0, 1)):
        one.watch._look(now, 0)  # a thread that has ended has no stack
        assert one.watch.blocked == blocked
