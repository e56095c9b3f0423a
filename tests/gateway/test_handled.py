"""`acknowledge="handled"`: after a crash everything comes again that was not handled."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from child_bot import ChildBot
from deadline import until
from gateways import gateway_to
from inside import inside
from stored import stored

from fastgw import SQLiteSessionStore, UsageError
from fastgw.testing import FakeGateway


async def lives(fake, path, acknowledge, kind, times):
    """Kill a bot again and again while numbered events come; return what its lives handled."""
    chance, sent, handled = random.Random(1), 0, []

    async def traffic():
        nonlocal sent
        while True:
            if fake.service.sessions:
                fake.dispatch("MESSAGE_CREATE", {"n": sent})
                sent += 1
            await asyncio.sleep(0.01)

    feed = asyncio.create_task(traffic())
    try:
        for life in range(times + 1):
            bot = ChildBot("handled_child.py", fake.url, str(path), acknowledge, kind)
            await bot.start()
            await until(bot.is_ready, 30.0)
            await until(lambda: stored(path), 30.0)
            if life == times:  # the last one catches up
                feed.cancel()
                await until(
                    lambda bot=bot: max(bot.numbers("handled", 2), default=-1) == sent - 1, 30.0
                )
                missing = set(range(sent)).difference(handled)
                with contextlib.suppress(AssertionError):  # the test says what is missing
                    await until(
                        lambda bot=bot, m=missing: m <= set(bot.numbers("handled", 2)), 10.0
                    )
            else:
                await asyncio.sleep(1.2 + chance.random())  # the store is told once a second
            await bot.kill()
            handled += bot.numbers("handled", 2)
    finally:
        feed.cancel()
        await asyncio.wait((feed,))
    return sent, set(handled)


@pytest.mark.one_loop
@pytest.mark.parametrize("kind", ["coroutine", "fields", "iterator"])
async def test_sigkill_in_the_middle_of_handlers_loses_none(fake, tmp_path, kind):
    """Coroutines that ran and events that waited come again; some come twice."""
    sent, handled = await lives(fake, tmp_path / "sessions", "handled", kind, times=2)
    assert handled == set(range(sent))
    assert len(fake.identifies) == 1


async def test_a_stop_that_cuts_handlers_short_stores_what_was_handled(fake, tmp_path):
    """They come again to the next process; what had ended does not."""
    store = SQLiteSessionStore(tmp_path / "sessions", acknowledge="handled")
    seen, again = [], []

    gateway = gateway_to(fake, store=store, drain_s=0.05)

    @gateway.on("MESSAGE_CREATE")
    async def slow(event):
        if event.data["n"] >= 3:
            await asyncio.Event().wait()
        seen.append(event.data["n"])

    async with gateway:
        for n in range(6):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
        await until(lambda: gateway.health().handlers_running == 3 and len(seen) == 3)
    gateway = gateway_to(fake, store=store)
    gateway.on("MESSAGE_CREATE")(lambda event: again.append(event.data["n"]))
    async with gateway:
        await until(lambda: len(again) == 3)
    assert seen == [0, 1, 2]
    assert again == [3, 4, 5]


async def test_what_ends_during_the_close_is_stored(fake, tmp_path):
    """The store is told last, so nothing of a clean stop comes twice."""
    store = SQLiteSessionStore(tmp_path / "sessions", acknowledge="handled")
    ended, again = [], []
    gateway = gateway_to(fake, store=store)

    @gateway.on("MESSAGE_CREATE")
    async def slow(event):
        await asyncio.sleep(0.05)
        ended.append(event.data["n"])

    async with gateway:
        for n in range(20):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
        await until(lambda: gateway.health().handlers_running == 20)
    assert len(ended) == 20
    gateway = gateway_to(fake, store=store)
    gateway.on("MESSAGE_CREATE")(lambda event: again.append(event.data["n"]))
    async with gateway:
        fake.dispatch("MESSAGE_CREATE", {"n": "next"})
        await until(lambda: again)
    assert again == ["next"]


async def test_a_resume_within_the_process_repeats_nothing(fake, tmp_path):
    """It goes by what was received: handlers still have the rest."""
    store = SQLiteSessionStore(tmp_path / "sessions", acknowledge="handled")
    gateway = gateway_to(fake, store=store, backoff_s=(0.01, 0.1))
    begun, gate = [], asyncio.Event()

    @gateway.on("MESSAGE_CREATE")
    async def slow(event):
        begun.append(event.data["n"])
        await gate.wait()

    async with gateway:
        for n in range(3):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
        await until(lambda: len(begun) == 3)
        assert inside(gateway).driver.stored_sequence() < fake.service.session().sequence
        fake.cut()
        await until(lambda: gateway.shards[0].stats().resumes_won == 1, 10.0)
        fake.dispatch("MESSAGE_CREATE", {"n": 3})
        await until(lambda: len(begun) == 4)
        gate.set()
    assert begun == [0, 1, 2, 3]


async def test_the_promise_ends_where_the_service_forgets(tmp_path):
    """Heartbeats say what was received: a service that goes by them begins a new session."""
    async with FakeGateway(heartbeat_interval_ms=100, forgets_acknowledged=True) as fake:
        store = SQLiteSessionStore(tmp_path / "sessions", acknowledge="handled")
        gateway = gateway_to(fake, store=store, drain_s=0.05)

        @gateway.on("MESSAGE_CREATE")
        async def stuck(event):
            await asyncio.Event().wait()

        async with gateway:
            fake.dispatch("MESSAGE_CREATE", {"n": 0})
            await until(lambda: gateway.health().handlers_running)
            await until(lambda: not fake.service.session().log)
        async with gateway_to(fake, store=store):
            assert len(fake.resumes) == 1
        assert len(fake.identifies) == 2


def test_another_acknowledgement_is_refused(tmp_path):
    """With what it may be."""
    with pytest.raises(UsageError, match="'received' or 'handled'"):
        SQLiteSessionStore(tmp_path / "sessions", acknowledge="written")
