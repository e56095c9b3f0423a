"""A limit on a block of awaits, beside cancellations that are not its own."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from fastgw.connection.time_limit import time_limit


async def test_what_takes_too_long_is_cancelled():
    """The block sees the cancellation, its caller a TimeoutError, and life goes on."""
    seen = []

    async def limited():
        with time_limit(0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    with pytest.raises(asyncio.TimeoutError):
        await limited()
    await asyncio.sleep(0)
    assert seen == ["cancelled"]


async def test_what_is_quick_is_not():
    """Nothing strikes later."""
    with time_limit(0.1):  # not so short that a busy machine needs it all
        await asyncio.sleep(0)
    await asyncio.sleep(0.15)


async def test_errors_pass():
    """As they are."""
    with pytest.raises(KeyError), time_limit(10):
        raise KeyError


async def test_a_cancellation_from_elsewhere_stays_one():
    """Nobody takes it for a timeout."""

    async def limited():
        with time_limit(1_000):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(limited())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("outer_s", "inner_s", "by"), [(0.01, 1_000, "outer"), (1_000, 0.01, "inner")]
)
async def test_the_shorter_of_two_limits_strikes(outer_s, inner_s, by):
    """Each raises for itself."""
    struck = None
    try:
        with time_limit(outer_s):
            try:
                with time_limit(inner_s):
                    await asyncio.Event().wait()
            except asyncio.TimeoutError:
                struck = "inner"
    except asyncio.TimeoutError:
        struck = "outer"
    assert struck == by


async def test_a_result_that_comes_too_late_is_too_late():
    """The limit and the result in the same turn of the loop."""
    answer = asyncio.get_running_loop().create_future()

    def block():
        time.sleep(0.03)
        answer.set_result(1)

    asyncio.get_running_loop().call_later(0.005, block)

    async def limited():
        with time_limit(0.02):
            await answer
            await asyncio.Event().wait()

    with pytest.raises(asyncio.TimeoutError):
        await limited()


async def test_a_block_that_makes_something_else_of_it_is_believed():
    """Its result or error counts, and the task is not half cancelled afterwards."""
    with time_limit(0.01), contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    if hasattr(task, "cancelling"):
        assert task.cancelling() == 0
    await asyncio.sleep(0)
