"""Handlers: routing, order, failures, tasks."""

import asyncio
import functools
import gc
import logging
import sys

import pytest

from fastgw._decode import Decoder
from fastgw.delivery.handlers import Dispatcher, MissingIntentWarning
from fastgw.errors import UsageError
from fastgw.protocol.wire import Intents

EAGER = sys.version_info >= (3, 12)


@pytest.fixture
def dispatcher():
    return Dispatcher(Intents.all())


@pytest.fixture
def feed(dispatcher):
    """Do what the compiled listener does: decode a dispatch, call the target of its name."""
    decoder = Decoder(interests=dispatcher.interests)
    count = 0

    def feed(name, data=b"{}"):
        nonlocal count
        count += 1
        message = b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), count, data)
        event = decoder.feed(message, 1, True)
        if event is not None and (target := dispatcher.target_of(name)) is not None:
            try:
                target(event)
            except BaseException as error:
                dispatcher.handler_failed(event, error)
        return event

    return feed


# ---------------------------------------------------------------------------- interest


def test_a_single_sync_handler_is_the_target_itself(dispatcher):
    """Nothing of ours stands between the listener and the only handler."""

    def handler(event): ...

    dispatcher.on(("MESSAGE_CREATE",), handler)
    assert dispatcher.target_of("MESSAGE_CREATE") is handler


def test_only_what_has_a_handler_is_wanted(dispatcher, feed):
    """Interest follows from the handlers; the rest is dropped by the decoder."""
    dispatcher.on(("MESSAGE_CREATE",), lambda event: None)
    assert feed("TYPING_START") is None
    assert feed("MESSAGE_CREATE") is not None


def test_the_library_keeps_its_own_interests(dispatcher, feed):
    """READY and its like reach the library without any handler."""
    for name in ("READY", "RESUMED", "RATE_LIMITED", "GUILD_MEMBERS_CHUNK"):
        assert feed(name) is not None
        assert dispatcher.target_of(name) is None


def test_a_handler_may_want_several_names(dispatcher, feed):
    """One registration, several names; a name given twice counts once."""
    seen = []
    dispatcher.on(("A", "B", "A"), lambda event: seen.append(event.name))
    for name in "ABC":
        feed(name)
    assert seen == ["A", "B"]


def test_everything_joins_named_handlers(dispatcher, feed):
    """ "*" gets events with and without handlers of their own, whichever came first."""
    seen = []
    dispatcher.on(("EARLY",), lambda event: seen.append(("named", event.name)))
    dispatcher.on(("*",), lambda event: seen.append(("all", event.name)))
    dispatcher.on(("LATE",), lambda event: seen.append(("named", event.name)))
    for name in ("EARLY", "LATE", "OTHER"):
        feed(name)
    assert seen == [
        ("named", "EARLY"), ("all", "EARLY"), ("named", "LATE"), ("all", "LATE"), ("all", "OTHER"),
    ]  # fmt: skip


def test_handlers_of_one_name_share_the_event_and_its_data(dispatcher, feed):
    """Decoded once, one object for all."""
    seen = []
    dispatcher.on(("A",), seen.append)
    dispatcher.on(("A",), lambda event: seen.append(event))
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
def test_bad_names_are_refused(dispatcher, names, text):
    """The error says how it is written."""
    with pytest.raises(UsageError, match=text):
        dispatcher.on(names, lambda event: None)


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
def test_bad_handlers_are_refused(dispatcher, handler, text):
    """At registration, not at the first event."""
    with pytest.raises(UsageError, match=text):
        dispatcher.on(("A",), handler)
    assert not dispatcher.interests.is_wanted("A")


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
def test_a_sync_wrapper_of_an_async_handler_is_refused(dispatcher, handler):
    """Its coroutine would never be awaited, so the handler would never run."""
    with pytest.raises(UsageError, match="make the wrapper `async def`"):
        dispatcher.on(("A",), handler)
    assert not dispatcher.interests.is_wanted("A")


@pytest.mark.parametrize(
    "handler",
    [_logged_async(_handles), _logged(lambda event: None), _logged_async(_logged(_handles))],
    ids=["async of async", "sync of sync", "async of sync of async"],
)
def test_wrappers_that_run_are_taken(dispatcher, handler):
    """What counts is whether calling the outermost one gives a coroutine."""
    assert dispatcher.on(("A",), handler) is handler


def test_a_missing_intent_warns_and_names_it():
    """The warning points at the line that registers the handler."""
    dispatcher = Dispatcher(Intents.GUILDS)
    with pytest.warns(MissingIntentWarning, match="GUILD_MESSAGES or DIRECT_MESSAGES") as caught:
        dispatcher.on(("MESSAGE_CREATE",), lambda event: None)
    assert caught[0].filename == __file__


def test_a_missing_intent_warns_at_users_whose_package_is_named_like_ours():
    """fastgw_bot is not fastgw: the warning stops there."""
    code = compile("dispatcher.on(('MESSAGE_CREATE',), print)", "bot.py", "exec")
    names = {"__name__": "fastgw_bot", "dispatcher": Dispatcher(Intents.GUILDS)}
    with pytest.warns(MissingIntentWarning) as caught:
        exec(code, names)
    assert caught[0].filename == "bot.py"


def test_one_of_the_gating_intents_is_enough():
    """Direct messages alone open MESSAGE_CREATE; ungated events need none."""
    Dispatcher(Intents.DIRECT_MESSAGES).on(("MESSAGE_CREATE",), lambda event: None)
    Dispatcher(Intents(0)).on(("INTERACTION_CREATE", "*"), lambda event: None)


def test_a_likely_typo_is_logged(dispatcher, caplog):
    """Unknown names are allowed, Discord sends some; a near miss is worth a line."""
    dispatcher.on(("MESAGE_CREATE", "GUILD_FROBNICATION"), lambda event: None)
    assert [r.message for r in caplog.records] == [
        "MESAGE_CREATE is not a documented event; did you mean MESSAGE_CREATE?"
    ]


# ---------------------------------------------------------------------------- failures


@pytest.mark.parametrize("others", [0, 1])
def test_a_failing_sync_handler_is_logged_and_counted(dispatcher, feed, caplog, others):
    """Handler, event and traceback are named; the other handlers run all the same."""
    ran = []

    def broken(event):
        raise RuntimeError("oh no")

    dispatcher.on(("A",), broken)
    for _ in range(others):
        dispatcher.on(("A",), ran.append)
    feed("A", b'{"secret":"text"}')
    (record,) = caplog.records
    assert "broken failed on A 1 of shard 0" in record.message
    assert record.exc_info[1].args == ("oh no",)
    assert "secret" not in caplog.text
    assert dispatcher.failures == {"A": 1}
    assert len(ran) == others


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_failing_async_handler_is_logged_and_counted(dispatcher, feed, caplog, awaits):
    """Whether it fails before or after its first await."""

    @functools.partial(dispatcher.on, ("A",))
    async def broken(event):
        if awaits:
            await asyncio.sleep(0)
        raise RuntimeError("oh no")

    feed("A")
    await dispatcher.drain(1.0)
    assert "broken failed on A 1" in caplog.text
    assert dispatcher.failures == {"A": 1}


# ---------------------------------------------------------------------------- async handlers


async def test_async_handlers_are_real_tasks_from_the_first_line(dispatcher, feed):
    """asyncio.timeout and TaskGroup, which need the current task, work before any await."""
    tasks = []

    async def handler(event):
        tasks.append(asyncio.current_task())
        if sys.version_info >= (3, 11):
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))

    dispatcher.on(("A",), handler)
    here = asyncio.current_task()
    feed("A")
    assert asyncio.current_task() is here
    await dispatcher.drain(1.0)
    assert isinstance(tasks[0], asyncio.Task)
    assert tasks[0] is not here
    assert not dispatcher.failures


@pytest.mark.skipif(not EAGER, reason="eager tasks came with Python 3.12")
async def test_async_handlers_run_at_once_up_to_their_first_await(dispatcher, feed):
    """Order with sync handlers and other events is that of the wire."""
    seen = []

    async def handler(event):
        seen.append(("begins", event.sequence))
        await asyncio.sleep(0)
        seen.append(("ends", event.sequence))

    dispatcher.on(("A",), handler)
    dispatcher.on(("B",), lambda event: seen.append(("sync", event.sequence)))
    for name in "ABA":
        feed(name)
    assert seen == [("begins", 1), ("sync", 2), ("begins", 3)]
    await dispatcher.drain(1.0)
    assert seen[3:] == [("ends", 1), ("ends", 3)]


async def test_async_handlers_begin_in_order(dispatcher, feed):
    """On every Python: the first lines run in the order of the events."""
    seen = []

    async def handler(event):
        seen.append(event.sequence)
        await asyncio.sleep(0)

    dispatcher.on(("A",), handler)
    for _ in range(50):
        feed("A")
    await dispatcher.drain(1.0)
    assert seen == list(range(1, 51))


class _CallableObject:
    def __init__(self, seen):
        self.seen = seen

    async def __call__(self, event):
        self.seen.append(event.name)


async def test_partials_and_callable_objects_count_as_async(dispatcher, feed):
    """What makes a coroutine is awaited, however it is wrapped."""
    seen = []

    async def with_option(option, event):
        seen.append((option, event.name))

    dispatcher.on(("A",), functools.partial(with_option, 1))
    dispatcher.on(("B",), _CallableObject(seen))
    feed("A")
    feed("B")
    await dispatcher.drain(1.0)
    assert seen == [(1, "A"), "B"]


async def test_a_waiting_handler_is_not_collected(dispatcher, feed):
    """The loop holds tasks only weakly; we hold them until they are done."""
    ended = []

    async def handler(event):
        await asyncio.sleep(0.01)
        ended.append(event.sequence)

    dispatcher.on(("A",), handler)
    feed("A")
    gc.collect()
    assert dispatcher.running == 1
    await dispatcher.drain(5.0)
    assert ended == [1]
    assert dispatcher.running == 0


async def test_drain_cancels_what_takes_too_long(dispatcher, feed, caplog):
    """After its grace a handler is cancelled, and counted by drain, not as a failure."""
    cancelled = []

    async def endless(event):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event.sequence)
            raise

    dispatcher.on(("A",), endless)
    feed("A")
    assert await dispatcher.drain(0.01) == 1
    assert cancelled == [1]
    assert not dispatcher.failures
    assert "1 handlers were cancelled" in caplog.text


async def test_a_handler_may_drain(dispatcher, feed):
    """Who closes the gateway from a handler does not wait for itself."""
    drained = asyncio.Event()

    async def closes(event):
        await asyncio.sleep(0)
        with dispatcher.caller_spared():
            assert await dispatcher.drain(5.0) == 0
        drained.set()

    dispatcher.on(("A",), closes)
    feed("A")
    await asyncio.wait_for(drained.wait(), 2.0)


async def test_a_handler_that_closes_no_longer_is_waited_for(dispatcher, feed):
    """One that gave up waiting for the close has its grace again, and is cancelled after it."""

    async def gives_up(event):
        with dispatcher.caller_spared():
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    dispatcher.on(("A",), gives_up)
    feed("A")
    await asyncio.sleep(0.01)
    assert await dispatcher.drain(0.01) == 1


def test_nothing_is_logged_for_a_good_event(dispatcher, feed, caplog):
    """No log line per event."""
    caplog.set_level(logging.DEBUG)
    dispatcher.on(("A",), lambda event: None)
    feed("A")
    assert not caplog.records
