"""Handlers: routing, order, failures, tasks."""

import asyncio
import functools
import gc
import logging
import sys

import pytest

from fastgw._decode import Decoder
from fastgw.delivery.handlers import Handlers
from fastgw.errors import UsageError
from fastgw.protocol.wire import Intents

EAGER = sys.version_info >= (3, 12)


@pytest.fixture
def handlers():
    return Handlers(Intents.all())


@pytest.fixture
def feed(handlers):
    """Do what the compiled listener does: decode a dispatch, call the target of its name."""
    decoder = Decoder(interests=handlers.interests)
    count = 0

    def feed(name, data=b"{}"):
        nonlocal count
        count += 1
        message = b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), count, data)
        event = decoder.feed(message, 1, True)
        if event is not None and (target := handlers.target_of(name)) is not None:
            try:
                target(event)
            except BaseException as error:
                handlers.failures.failed(event, target, error)
        return event

    return feed


# ---------------------------------------------------------------------------- interest


def test_a_single_sync_handler_is_the_target_itself(handlers):
    """Nothing of ours stands between the listener and the only handler."""

    def handler(event): ...

    handlers.on(("MESSAGE_CREATE",), handler)
    assert handlers.target_of("MESSAGE_CREATE") is handler


def test_only_what_has_a_handler_is_wanted(handlers, feed):
    """Interest follows from the handlers; the rest is dropped by the decoder."""
    handlers.on(("MESSAGE_CREATE",), lambda event: None)
    assert feed("TYPING_START") is None
    assert feed("MESSAGE_CREATE") is not None


def test_the_library_keeps_its_own_interests(handlers, feed):
    """READY and its like reach the library without any handler."""
    for name in ("READY", "RESUMED", "RATE_LIMITED", "GUILD_MEMBERS_CHUNK"):
        assert feed(name) is not None
        assert handlers.target_of(name) is None


def test_a_handler_may_want_several_names(handlers, feed):
    """One registration, several names; a name given twice counts once."""
    seen = []
    handlers.on(("A", "B", "A"), lambda event: seen.append(event.name))
    for name in "ABC":
        feed(name)
    assert seen == ["A", "B"]


def test_everything_joins_named_handlers(handlers, feed):
    """ "*" gets events with and without handlers of their own, whichever came first."""
    seen = []
    handlers.on(("EARLY",), lambda event: seen.append(("named", event.name)))
    handlers.on(("*",), lambda event: seen.append(("all", event.name)))
    handlers.on(("LATE",), lambda event: seen.append(("named", event.name)))
    for name in ("EARLY", "LATE", "OTHER"):
        feed(name)
    assert seen == [
        ("named", "EARLY"), ("all", "EARLY"), ("named", "LATE"), ("all", "LATE"), ("all", "OTHER"),
    ]  # fmt: skip


def test_handlers_of_one_name_share_the_event_and_its_data(handlers, feed):
    """Decoded once, one object for all."""
    seen = []
    handlers.on(("A",), seen.append)
    handlers.on(("A",), lambda event: seen.append(event))
    feed("A", b'{"x":1}')
    assert seen[0] is seen[1]
    assert seen[0].data is seen[1].data


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((lambda event: None,), "write @gateway.on"),
        ((), "name at least one event"),
        (("message_create",), "did you mean MESSAGE_CREATE"),
        (("on_message_create",), "did you mean MESSAGE_CREATE"),
        (("MessageCreate",), "did you mean MESSAGE_CREATE"),
        (("",), "not an event name"),
        ((7,), "is a str, not int"),
        ((["MESSAGE_CREATE"],), "is a str, not list"),
    ],
)
def test_bad_names_are_refused(handlers, names, text):
    """The error says how it is written."""
    with pytest.raises(UsageError, match=text):
        handlers.on(names, lambda event: None)


async def _yields(event):
    yield event


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        ("print", "must be callable"),
        (lambda: None, "one argument, the event"),
        (lambda event, context: None, "one argument, the event"),
        (_yields, "is a generator"),
    ],
)
def test_bad_handlers_are_refused(handlers, handler, text):
    """At registration, not at the first event."""
    with pytest.raises(UsageError, match=text):
        handlers.on(("A",), handler)
    assert not handlers.interests.is_wanted("A")


def _logged(handler):
    @functools.wraps(handler)
    def call(event):
        return handler(event)

    return call


def _logged_async(handler):
    @functools.wraps(handler)
    async def call(event):
        return await handler(event)

    return call


async def _handles(event):
    pass


async def _handles_in(self, event):
    pass


class _LoggedCall:
    @functools.wraps(_handles_in)
    def __call__(self, event):
        return _handles_in(self, event)


@pytest.mark.parametrize(
    "handler",
    [_logged(_handles), functools.partial(_logged(_handles)), _LoggedCall()],
    ids=["function", "partial", "callable object"],
)
def test_a_sync_wrapper_of_an_async_handler_is_refused(handlers, handler):
    """Its coroutine would never be awaited, so the handler would never run."""
    with pytest.raises(UsageError, match="make the wrapper `async def`"):
        handlers.on(("A",), handler)
    assert not handlers.interests.is_wanted("A")


@pytest.mark.parametrize(
    "handler",
    [_logged_async(_handles), _logged(lambda event: None), _logged_async(_logged(_handles))],
    ids=["async of async", "sync of sync", "async of sync of async"],
)
def test_wrappers_that_run_are_taken(handlers, handler):
    """What counts is whether calling the outermost one gives a coroutine."""
    assert handlers.on(("A",), handler) is handler


def test_one_of_the_gating_intents_is_enough():
    """Direct messages alone open MESSAGE_CREATE; ungated events need none."""
    Handlers(Intents.DIRECT_MESSAGES).on(("MESSAGE_CREATE",), lambda event: None)
    Handlers(Intents(0)).on(("INTERACTION_CREATE", "*"), lambda event: None)


def test_a_likely_typo_is_logged(handlers, caplog):
    """Unknown names are allowed, Discord sends some; a near miss is worth a line."""
    handlers.on(("MESAGE_CREATE", "GUILD_FROBNICATION"), lambda event: None)
    assert [r.message for r in caplog.records] == [
        "MESAGE_CREATE is not a documented event; did you mean MESSAGE_CREATE?"
    ]


# ---------------------------------------------------------------------------- failures


@pytest.mark.parametrize("others", [0, 1])
def test_a_failing_sync_handler_is_logged_and_counted(handlers, feed, caplog, others):
    """Handler, event and traceback are named; the other handlers run all the same."""
    ran = []

    def broken(event):
        raise RuntimeError("oh no")

    handlers.on(("A",), broken)
    for _ in range(others):
        handlers.on(("A",), ran.append)
    feed("A", b'{"secret":"text"}')
    (record,) = caplog.records
    assert "broken failed on A 1 of shard 0" in record.message
    assert record.exc_info[1].args == ("oh no",)
    assert "secret" not in caplog.text
    assert handlers.failures.counts == {"A": 1}
    assert len(ran) == others


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_failing_async_handler_is_logged_and_counted(handlers, feed, caplog, awaits):
    """Whether it fails before or after its first await."""

    @functools.partial(handlers.on, ("A",))
    async def broken(event):
        if awaits:
            await asyncio.sleep(0)
        raise RuntimeError("oh no")

    feed("A")
    await handlers.tasks.drain(1.0)
    assert "broken failed on A 1" in caplog.text
    assert handlers.failures.counts == {"A": 1}


# ---------------------------------------------------------------------------- async handlers


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
    assert "1 handlers were cancelled" in caplog.text


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


def test_nothing_is_logged_for_a_good_event(handlers, feed, caplog):
    """No log line per event."""
    caplog.set_level(logging.DEBUG)
    handlers.on(("A",), lambda event: None)
    feed("A")
    assert not caplog.records
