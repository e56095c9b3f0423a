"""The loop watch: lag, and the stack of what blocks."""

import asyncio
import logging
import threading
import time

import pytest
from deadline import scaled, until

from fastgw.fleet.loopwatch import LoopWatch


@pytest.fixture
async def watch():
    ticks = []
    watch = LoopWatch(lambda: ticks.append(time.monotonic()), tick_s=0.01, blocked_s=scaled(0.2))
    watch.ticks = ticks
    watch.start()
    yield watch
    watch.stop()


def this_code_blocks_the_loop(seconds):
    time.sleep(seconds)


def warnings_in(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING]


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
    this_code_blocks_the_loop(scaled(0.5))
    await until(lambda: watch.lag_s >= scaled(0.2))
    (warning,) = warnings_in(caplog)
    assert "has been blocked for" in warning.message
    assert "this_code_blocks_the_loop" in warning.message
    assert watch.blocked == 1


async def test_a_blockage_just_long_enough_shows_its_stack(caplog):
    """Who blocks for little more than `blocked_s` is named, too."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=0.8)
    watch.start()
    await asyncio.sleep(0.03)
    this_code_blocks_the_loop(1.0)
    await until(lambda: watch.blocked == 1)
    watch.stop()
    (warning,) = warnings_in(caplog)
    assert "this_code_blocks_the_loop" in warning.message


async def test_each_blockage_is_reported(watch, caplog):
    """The second one as well."""
    for count in (1, 2):
        ticks = len(watch.ticks)
        await until(lambda ticks=ticks: len(watch.ticks) > ticks + 1)
        this_code_blocks_the_loop(scaled(0.4))
        await until(lambda count=count: watch.blocked == count)
    assert len(warnings_in(caplog)) == 2


async def test_lag_and_its_worst(watch):
    """A short delay shows as lag, and stays in the worst of the last minute."""
    await until(lambda: watch.ticks)
    this_code_blocks_the_loop(0.06)  # below what is reported
    ticks = len(watch.ticks)
    await until(lambda: len(watch.ticks) > ticks + 3)
    assert 0.03 < watch.lag_worst_s < scaled(0.5)
    assert watch.lag_s < watch.lag_worst_s


async def test_code_that_keeps_the_interpreter_is_reported_afterwards(caplog):
    """Nobody could look at the stack meanwhile; the lag is told all the same."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=scaled(0.2))
    watch.start()
    await asyncio.sleep(0.02)
    watch._stop.set()  # the thread sees nothing, as if it never got to run
    watch._thread.join()
    this_code_blocks_the_loop(scaled(0.4))
    await until(lambda: watch.blocked == 1)
    watch.stop()
    (warning,) = warnings_in(caplog)
    assert "nothing could see why" in warning.message


async def test_stop_ends_its_thread_and_ticks():
    """Nothing of it is left."""
    ticks = []
    watch = LoopWatch(lambda: ticks.append(1), tick_s=0.01, blocked_s=scaled(0.2))
    watch.start()
    assert any(thread.name == "fastgw loop watch" for thread in threading.enumerate())
    watch.stop()
    assert not any(thread.name == "fastgw loop watch" for thread in threading.enumerate())
    count = len(ticks)
    await asyncio.sleep(0.05)
    assert len(ticks) == count


def test_stop_without_start():
    """A gateway that never started has nothing to stop."""
    LoopWatch(lambda: None).stop()


def test_a_loop_that_has_ended_is_not_blocked(caplog):
    """case 61: who forgets close() is not told of a blockage, and leaves no thread behind."""
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=0.05)

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
    watch = LoopWatch(lambda: None, tick_s=0.01, blocked_s=0.05)
    loop = asyncio.new_event_loop()

    async def begin():
        watch.start()

    loop.run_until_complete(begin())
    time.sleep(0.3)
    ticks = watch._ticks

    async def go_on():
        await until(lambda: watch._ticks > ticks + 3)

    loop.run_until_complete(go_on())
    watch.stop()
    loop.close()
    assert watch.blocked == 0
    assert caplog.records == []
