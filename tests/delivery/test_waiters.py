"""Waiting for one event: which one it is, and how a wait ends without it."""

import asyncio
import gc

import pytest
from deadline import until

from fastgw.errors import UsageError, WaitFailed


@pytest.fixture
async def wait(handlers):
    """Begin to wait, in a task of its own."""
    tasks = []

    async def wait(*names, check=None, timeout_s=None):
        task = asyncio.ensure_future(handlers.wait_for(names, check, timeout_s))
        tasks.append(task)
        await asyncio.sleep(0)
        return task

    yield wait
    for task in tasks:
        task.cancel()


async def test_the_first_event_of_a_name_answers(handlers, feed, wait):
    """Once; the name is not wanted any more then."""
    waiting = await wait("A", "B")
    feed("C")
    event = feed("B")
    feed("A")
    assert await waiting is event
    assert not handlers.interests.is_wanted("A")
    assert not handlers.interests.is_wanted("B")


async def test_an_event_must_pass_the_check(feed, wait):
    """It sees each event as it comes."""
    waiting = await wait("A", check=lambda event: event.data == 3)
    for number in range(5):
        feed("A", b"%d" % number)
    assert (await waiting).sequence == 4


@pytest.mark.parametrize("timeout_s", ["5", float("nan"), True, b"1"])
async def test_a_timeout_is_a_number_of_seconds(handlers, timeout_s):
    """A NaN would get the loop's timers out of order."""
    with pytest.raises(UsageError, match="is not a number of seconds, or None"):
        await handlers.wait_for(("A",), None, timeout_s)
    assert not handlers.interests.is_wanted("A")


async def test_many_may_wait_for_one_event(feed, wait):
    """All of them get it."""
    waiting = [await wait("A") for _ in range(100)]
    event = feed("A")
    assert all(answer is event for answer in await asyncio.gather(*waiting))


async def test_a_waiter_is_served_before_handlers_and_behind_no_bound(handlers, feed, wait):
    """The one who waits may be the one who keeps others from running."""
    answered = []

    async def asks(event):
        answered.append(await handlers.wait_for(("B",), None, None))

    handlers.on(("A", "B"), asks, bound=1)
    feed("A")
    await until(lambda: handlers.interests.is_wanted("B"))
    await asyncio.sleep(0)
    feed("B")
    await until(lambda: answered)
    assert answered[0].name == "B"
    handlers.off(asks)
    await handlers.tasks.drain(0.01)


async def test_it_gives_up_in_time(handlers, wait):
    """With the error of asyncio, which is TimeoutError from 3.11 on, and leaves nothing behind."""
    waiting = await wait("A", timeout_s=0.01)
    with pytest.raises(asyncio.TimeoutError, match=r"no A in 0\.01 s"):
        await waiting
    assert not handlers.interests.is_wanted("A")


async def test_cancelling_leaves_nothing_behind(handlers, feed, wait):
    """Nor does an event at the same moment."""
    waiting = await wait("A")
    feed("A")
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    assert not handlers.interests.is_wanted("A")


async def test_an_error_of_the_check_is_the_waiters(handlers, feed, wait):
    """It asked; handlers and connection have nothing to do with it."""
    waiting = await wait("A", check=lambda event: event.data["no such member"])
    feed("A")
    with pytest.raises(KeyError, match="no such member"):
        await waiting
    assert not handlers.failures.counts


async def test_a_check_that_stops_an_iteration_is_told(feed, wait):
    """`next()` in a check: no future can carry a StopIteration."""
    waiting = await wait("A", check=lambda event: next(iter([])))
    feed("A")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await waiting


async def test_an_async_check_is_refused(handlers, feed, wait):
    """Its coroutine would be true, whatever it says."""

    async def check(event):
        return False

    with pytest.raises(UsageError, match="must be a sync function"):
        await handlers.wait_for(("A",), check, None)
    waiting = await wait("A", check=lambda event: check(event))
    feed("A")
    with pytest.raises(UsageError, match="must be a sync function"):
        await waiting


async def test_the_end_of_the_gateway_ends_the_wait(handlers, wait):
    """With an error that says so, now and later."""
    waiting = await wait("A")
    handlers.end()
    with pytest.raises(WaitFailed, match="the gateway was closed"):
        await waiting
    with pytest.raises(WaitFailed, match="the gateway was closed"):
        await handlers.wait_for(("A",), None, None)


async def test_an_error_that_nobody_fetched_is_no_secret_of_asyncio(handlers, wait, caplog):
    """A wait that is cancelled as it fails leaves no "never retrieved" behind."""
    waiting = await wait("A")
    handlers.end()
    waiting.cancel()
    await asyncio.wait((waiting,))
    del waiting
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize("names", [(), ("message_create",)])
async def test_bad_names_are_refused(handlers, names):
    """As everywhere."""
    with pytest.raises(UsageError):
        await handlers.wait_for(names, None, None)


async def test_a_likely_typo_is_told_once(handlers, feed, wait, caplog):
    """A bot may wait for the same a thousand times."""
    for _ in range(3):
        waiting = await wait("MESAGE_CREATE")
        feed("MESAGE_CREATE")
        await waiting
    assert len(caplog.records) == 1
