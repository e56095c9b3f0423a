"""A consumer lives in one loop: whoever calls from elsewhere is refused before anything moves."""

from __future__ import annotations

import asyncio
import threading

import pytest
from deadline import scaled

from fastgw.errors import UsageError
from fastgw.redis import Consumer

URL = "redis://127.0.0.1:1"  # nobody is there, and nobody is asked


def handler(event):
    """Take any event."""


async def first(iterator):
    """Take the first of an iterator."""
    return await anext(aiter(iterator))


COROUTINES = {
    "start": lambda c, s, r: c.start(),
    "__aenter__": lambda c, s, r: c.__aenter__(),
    "__aexit__": lambda c, s, r: c.__aexit__(None, None, None),
    "close": lambda c, s, r: c.close(),
    "wait_for": lambda c, s, r: c.wait_for("READY", timeout_s=0.1),
    "send": lambda c, s, r: c.send(3, {}, shard_id=0),
    "update_voice_state": lambda c, s, r: c.update_voice_state(1, None),
    "request_channel_info": lambda c, s, r: c.request_channel_info(1),
    "request_soundboard_sounds": lambda c, s, r: c.request_soundboard_sounds([1]),
    "request": lambda c, s, r: first(r),
    "anext": lambda c, s, r: first(s),
    "aclose": lambda c, s, r: s.aclose(),
}
CALLS = {
    "on": lambda c, s, r: c.on("READY")(handler),
    "off": lambda c, s, r: c.off(handler),
    "route": lambda c, s, r: c.route("READY", None),
    "on_error": lambda c, s, r: c.on_error(handler),
    "events": lambda c, s, r: c.events("READY"),
    "request_members": lambda c, s, r: c.request_members(1, query="x", limit=1),
    "set_presence": lambda c, s, r: c.set_presence({"status": "idle"}),
}


@pytest.mark.parametrize("name", [*COROUTINES, *CALLS])
async def test_another_thread_is_refused(name):
    """At once, with what helps; its own loop can use and close it as before."""
    consumer = Consumer(URL, group="g", shards=1)
    stream = consumer.events("MESSAGE_CREATE")
    request = consumer.request_members(1, query="x", limit=1)
    consumer._handlers.home.enter("start")
    consumer._task = task = asyncio.ensure_future(asyncio.sleep(60))  # as after start()
    refusals = []

    def call():
        async def coroutine():
            await COROUTINES[name](consumer, stream, request)

        try:
            if name in COROUTINES:
                asyncio.run(coroutine())
            else:
                CALLS[name](consumer, stream, request)
        except Exception as error:
            refusals.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(scaled(10.0))
    assert [type(error) for error in refusals] == [UsageError]
    assert "call asyncio.run_coroutine_threadsafe" in str(refusals[0])
    assert not task.cancelled()
    assert consumer.shard_ids == ()
    await asyncio.wait_for(consumer.close(), scaled(5.0))
    assert task.cancelled()


async def test_a_second_start_is_refused_while_the_first_is_under_way(monkeypatch):
    """Else each would serve, and only one be closed."""
    consumer, may_go = Consumer(URL, group="g", shards=1), asyncio.Event()
    monkeypatch.setattr(consumer._streams, "load", lambda *names: may_go.wait())
    starting = asyncio.ensure_future(consumer.start())
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="works once"):
        await consumer.start()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_close_while_the_start_is_under_way_ends_it(monkeypatch):
    """Else it would serve, and whoever closed it would not know."""
    consumer, may_go = Consumer(URL, group="g", shards=1), asyncio.Event()
    monkeypatch.setattr(consumer._streams, "check", may_go.wait)

    async def nothing(*_arguments):
        return None

    for name in ("run", "load"):
        monkeypatch.setattr(consumer._streams, name, nothing)
    monkeypatch.setattr(consumer, "_tell", nothing)
    monkeypatch.setattr(consumer._shards, "open", nothing)
    starting = asyncio.ensure_future(consumer.start())
    await asyncio.sleep(0)
    await consumer.close()
    may_go.set()
    with pytest.raises(UsageError, match="closed while it was starting"):
        await asyncio.wait_for(starting, scaled(5.0))
    assert consumer._task is None


@pytest.mark.parametrize("shards", [0, -1, True, 4.0, "4", None, [], [-1], ["1"], 10**9])
def test_what_are_no_shards_is_refused(shards):
    """With what was said."""
    with pytest.raises(UsageError, match="shards="):
        Consumer(URL, group="g", shards=shards)


def test_a_shard_that_is_named_twice_is_one():
    """It has one mailbox, and counts once when they are shared out."""
    assert Consumer(URL, group="g", shards=[3, 1, 3])._shard_ids == (1, 3)
