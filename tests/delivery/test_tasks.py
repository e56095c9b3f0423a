"""Tasks of async handlers: how they start, end and are drained, and what else may run."""

import asyncio
import contextvars
import functools
import gc
import sys
import types
import warnings

import pytest

from fastgw._decode import Event
from fastgw.errors import UsageError

EAGER = sys.version_info >= (3, 12)


async def test_async_handlers_are_real_tasks_from_the_first_line(handlers, feed):
    """asyncio.timeout and TaskGroup, which need the current task, work before any await."""
    tasks = []

    async def handler(event):
        tasks.append(asyncio.current_task())
        if sys.version_info >= (3, 11):
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))

    handlers.on(("A",), handler)
    here = asyncio.current_task()
    feed("A")
    assert asyncio.current_task() is here
    await handlers.tasks.drain(1.0)
    assert isinstance(tasks[0], asyncio.Task)
    assert tasks[0] is not here
    assert not handlers.failures.counts


@pytest.mark.skipif(not EAGER, reason="eager tasks came with Python 3.12")
async def test_async_handlers_run_at_once_up_to_their_first_await(handlers, feed):
    """Order with sync handlers and other events is that of the wire."""
    seen = []

    async def handler(event):
        seen.append(("begins", event.sequence))
        await asyncio.sleep(0)
        seen.append(("ends", event.sequence))

    handlers.on(("A",), handler)
    handlers.on(("B",), lambda event: seen.append(("sync", event.sequence)))
    for name in "ABA":
        feed(name)
    assert seen == [("begins", 1), ("sync", 2), ("begins", 3)]
    await handlers.tasks.drain(1.0)
    assert seen[3:] == [("ends", 1), ("ends", 3)]


async def test_async_handlers_begin_in_order(handlers, feed):
    """On every Python: the first lines run in the order of the events."""
    seen = []

    async def handler(event):
        seen.append(event.sequence)
        await asyncio.sleep(0)

    handlers.on(("A",), handler)
    for _ in range(50):
        feed("A")
    await handlers.tasks.drain(1.0)
    assert seen == list(range(1, 51))


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="as it was")


async def test_a_context_variable_is_not_seen_by_the_next_event(handlers, feed):
    """Each async handler has its own copy of the context, from its first line."""
    seen = []

    async def handler(event):
        seen.append(VARIABLE.get())
        VARIABLE.set(event.name)
        await asyncio.sleep(0)
        seen.append(VARIABLE.get())

    handlers.on(("A", "B"), handler)
    feed("A")
    feed("B")
    await handlers.tasks.drain(1.0)
    assert sorted(seen) == ["A", "B", "as it was", "as it was"]
    assert VARIABLE.get() == "as it was"


class _CallableObject:
    def __init__(self, seen):
        self.seen = seen

    async def __call__(self, event):
        self.seen.append(event.name)


async def test_partials_and_callable_objects_count_as_async(handlers, feed):
    """What makes a coroutine is awaited, however it is wrapped."""
    seen = []

    async def with_option(option, event):
        seen.append((option, event.name))

    handlers.on(("A",), functools.partial(with_option, 1))
    handlers.on(("B",), _CallableObject(seen))
    feed("A")
    feed("B")
    await handlers.tasks.drain(1.0)
    assert seen == [(1, "A"), "B"]


async def test_a_waiting_handler_is_not_collected(handlers, feed):
    """The loop holds tasks only weakly; we hold them until they are done."""
    ended = []

    async def handler(event):
        await asyncio.sleep(0.01)
        ended.append(event.sequence)

    handlers.on(("A",), handler)
    feed("A")
    gc.collect()
    assert handlers.tasks.running == 1
    await handlers.tasks.drain(5.0)
    assert ended == [1]
    assert handlers.tasks.running == 0


async def test_drain_cancels_what_takes_too_long(handlers, feed, caplog):
    """After its grace a handler is cancelled, and counted by drain, not as a failure."""
    cancelled = []

    async def endless(event):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event.sequence)
            raise

    handlers.on(("A",), endless)
    feed("A")
    assert await handlers.tasks.drain(0.01) == 1
    assert cancelled == [1]
    assert not handlers.failures.counts
    assert "1 handler was cancelled" in caplog.text


async def test_a_handler_may_drain(handlers, feed):
    """Who closes the gateway from a handler does not wait for itself."""
    drained = asyncio.Event()

    async def closes(event):
        await asyncio.sleep(0)
        with handlers.tasks.caller_spared():
            assert await handlers.tasks.drain(5.0) == 0
        drained.set()

    handlers.on(("A",), closes)
    feed("A")
    await asyncio.wait_for(drained.wait(), 2.0)


async def test_a_handler_that_closes_no_longer_is_waited_for(handlers, feed):
    """One that gave up waiting for the close has its grace again, and is cancelled after it."""

    async def gives_up(event):
        with handlers.tasks.caller_spared():
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    handlers.on(("A",), gives_up)
    feed("A")
    await asyncio.sleep(0.01)
    assert await handlers.tasks.drain(0.01) == 1


# ---------------------------------------------------------------------------- what comes back


class _Callable:
    def __init__(self, call):
        self._call = call

    def __call__(self, event):
        return self._call(event)


class _Method:
    def __init__(self, call):
        self._call = call

    def handle(self, event):
        return self._call(event)


def _wraps(call):
    @functools.wraps(call)
    def wrapper(event):
        return call(event)

    return wrapper


def _awaits_nothing(call):
    async def forgets(event):
        return call(event)  # and no await

    return forgets


WRAPPINGS = {
    "lambda": lambda call: lambda event: call(event),
    "wraps": _wraps,
    "partial": lambda call: functools.partial(lambda _, event: call(event), 1),
    "partial of wraps": lambda call: functools.partial(_wraps(call)),
    "callable object": _Callable,
    "bound method": lambda call: _Method(call).handle,
    "async function that does not await": _awaits_nothing,
}


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
async def test_a_coroutine_that_a_handler_returns_runs(handlers, feed, wrap, others):
    """However it is wrapped, alone and beside another handler; warnings of lost ones are errors."""
    ran = []

    async def handle(event):
        await asyncio.sleep(0)
        ran.append(event)

    handlers.on(("A",), wrap(handle))
    for _ in range(others):
        handlers.on(("A",), lambda event: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        event = feed("A")
        await handlers.tasks.drain(1.0)
        gc.collect()
    assert ran == [event]
    assert not handlers.failures.counts


async def test_a_returned_coroutine_that_fails_counts_for_its_handler(handlers, feed, caplog):
    """It is the handler's as if it were `async def`."""

    async def handle(event):
        await asyncio.sleep(0)
        raise RuntimeError("oh no")

    def wrapper(event):
        return handle(event)

    handlers.on(("A",), wrapper)
    feed("A")
    await handlers.tasks.drain(1.0)
    assert handlers.failures.counts == {"A": 1}
    assert "wrapper failed on A 1" in caplog.text


@types.coroutine
def _old_coroutine(event):
    yield from asyncio.sleep(0).__await__()


class _Awaitable:
    def __init__(self, ran):
        self._ran = ran

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        self._ran.append(True)


async def test_any_awaitable_runs(handlers, feed):
    """Objects with __await__, as of HTTP libraries, and generators that are coroutines."""
    ran = []
    handlers.on(("A",), lambda event: _Awaitable(ran))
    handlers.on(("A",), lambda event: _old_coroutine(event))
    feed("A")
    await handlers.tasks.drain(1.0)
    assert ran == [True]
    assert not handlers.failures.counts


async def test_a_task_that_a_handler_made_is_left_alone(handlers, feed):
    """It runs already, and is its maker's."""
    ran, made = [], []

    async def handle(event):
        ran.append(event)

    def makes(event):
        made.append(asyncio.ensure_future(handle(event)))
        return made[0]

    handlers.on(("A",), makes)
    feed("A")
    assert handlers.tasks.running == 0
    await made[0]
    assert len(ran) == 1


async def _yields(event):
    yield event


class _YieldingCall:
    async def __call__(self, event):
        yield event


@pytest.mark.parametrize(
    "handler",
    [_yields, _YieldingCall(), functools.partial(_yields), functools.partial(_YieldingCall())],
    ids=["function", "callable object", "partial", "partial of an object"],
)
def test_generators_are_refused_at_registration(handlers, handler):
    """Calling one runs nothing."""
    with pytest.raises(UsageError, match="is a generator"):
        handlers.on(("A",), handler)


@pytest.mark.parametrize(
    "handler",
    [lambda event: _yields(event), lambda event: (n for n in [event])],
    ids=["async", "sync"],
)
def test_a_generator_that_a_handler_returns_is_told(handlers, feed, caplog, handler):
    """It cannot be seen at registration, so the first event says it."""
    handlers.on(("A",), handler)
    feed("A")
    assert "never runs; do not yield" in caplog.text
    assert handlers.failures.counts == {"A": 1}


def test_what_else_a_handler_returns_is_nobodys_business(handlers, feed, caplog):
    """Any value is allowed; events are not kept for it."""
    handlers.on(("A",), lambda event: event)
    assert isinstance(feed("A"), Event)
    assert not caplog.records
