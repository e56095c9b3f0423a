"""The thread that does what event loops ask of it: order, errors, ticks, and its end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from deadline import scaled, until

from fastgw import UsageError
from fastgw.fleet.stores.job_thread import JobThread


@pytest.fixture
def thread():
    """A thread that ends with its test."""
    thread = JobThread("jobs")
    yield thread
    thread.stop()
    assert thread.join(scaled(20))


class Held:
    """A job that holds up its thread until it is let go."""

    def __init__(self, thread):
        self.has_begun, self.may_go = threading.Event(), threading.Event()
        thread.post(self._hold, print)

    def _hold(self):
        self.has_begun.set()
        self.may_go.wait()


async def test_jobs_are_done_in_order_in_one_thread(thread):
    """Those that are awaited and those that are not; it keeps no process alive."""
    done = []
    thread.post(lambda: done.append(threading.current_thread()), print)
    (found,) = await thread.call(lambda: list(done))
    assert (found.name, found.daemon) == ("fastgw jobs", True)


async def test_what_a_job_raises_is_raised_where_it_is_awaited(thread):
    """And the thread goes on, whatever it was."""
    for error in (ValueError("bad"), SystemExit(3)):

        def work(error=error):
            raise error

        with pytest.raises(type(error)):
            await thread.call(work)
    assert await thread.call(lambda: 1) == 1


async def test_what_a_posted_job_raises_is_handed_to_who_is_told(thread):
    """In the thread, before the next job."""
    told = []
    thread.post(lambda: 1 / 0, told.append)
    assert await thread.call(lambda: [type(error) for error in told]) == [ZeroDivisionError]


async def test_a_caller_who_is_cancelled_takes_nothing_back(thread):
    """The job may be half done: it is done to its end, and nobody is told."""
    held, done = Held(thread), []
    waiting = asyncio.ensure_future(thread.call(lambda: done.append(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    held.may_go.set()
    assert await thread.call(lambda: list(done)) == [1]
    assert waiting.cancelled()


def test_a_loop_that_is_gone_costs_nothing(thread):
    """What it asked for is done; there is nobody to tell."""
    held, done = Held(thread), threading.Event()

    async def ask():
        thread.call(done.set)

    asyncio.run(ask())
    held.may_go.set()
    assert done.wait(scaled(20))
    assert thread.is_alive


async def test_a_tick_comes_again_and_again(thread):
    """Without anybody asking."""
    ticks = []
    thread.every(0.001, lambda: ticks.append(threading.current_thread().name))
    await until(lambda: len(ticks) >= 3)
    assert set(ticks) == {"fastgw jobs"}


async def test_a_tick_comes_when_its_time_is_over(thread):
    """Not before."""
    ticks = []
    thread.every(3_600.0, lambda: ticks.append(1))
    for _ in range(3):
        assert await thread.call(lambda: list(ticks)) == []


async def test_a_thread_that_always_has_work_ticks_all_the_same(thread):
    """A lease is renewed however much is stored."""
    ticks = []
    thread.every(0.001, lambda: ticks.append(1))
    stopped = threading.Event()

    def again():
        if not stopped.is_set():
            thread.post(again, print)

    for _ in range(3):  # its queue is never empty
        thread.post(again, print)
    await until(lambda: len(ticks) >= 3)
    stopped.set()


def test_it_ends_after_all_that_came_before():
    """And after the last word."""
    thread = JobThread("jobs")
    done = []
    thread.post(lambda: done.append("job"), print)
    thread.stop(lambda: done.append("last"))
    assert thread.join(scaled(20))
    assert done == ["job", "last"]


async def test_its_end_can_be_awaited():
    """Then the thread is gone, not only about to go."""
    thread = JobThread("jobs")
    done = []
    assert await thread.end(scaled(20), lambda: done.append("last"))
    assert not thread.is_alive
    assert done == ["last"]


async def test_a_job_that_hangs_is_not_waited_for():
    """The thread ends, and says its last word, when the job comes back."""
    thread = JobThread("jobs")
    held, done = Held(thread), []
    assert not await thread.end(0.01, lambda: done.append("last"))
    assert not thread.join(0.0)
    held.may_go.set()
    assert thread.join(scaled(20))
    assert done == ["last"]


async def test_one_thread_begins_when_another_has_ended():
    """Two threads never use one file at once."""
    first = JobThread("first")
    held, done = Held(first), []
    first.post(lambda: done.append("first"), print)
    first.stop()
    second = JobThread("second", after=first)
    second.post(lambda: done.append("second"), print)
    second.stop()
    assert not second.join(0.01)
    held.may_go.set()
    assert second.join(scaled(20))
    assert done == ["first", "second"]


async def test_a_long_row_of_threads_keeps_none_of_the_ended_ones():
    """A queue that is used for months has had thousands."""
    thread = first = JobThread("jobs")
    gone = weakref.ref(first)
    for _ in range(3):
        thread.stop()
        thread = JobThread("jobs", after=thread)
    del first
    assert await thread.call(lambda: 1) == 1
    thread.stop()
    assert thread.join(scaled(20))
    gc.collect()
    assert gone() is None


async def test_a_thread_that_was_stopped_refuses_what_is_awaited():
    """Nobody would ever answer."""
    thread = JobThread("jobs")
    await thread.end(scaled(20))
    with pytest.raises(UsageError, match="closed"):
        await asyncio.wait_for(thread.call(int), scaled(5))
