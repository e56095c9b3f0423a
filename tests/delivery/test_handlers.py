"""Handlers: who is called for which event, and in which order."""

import asyncio
import enum
import functools

import pytest

from fastgw import field
from fastgw.delivery.handlers import Handlers
from fastgw.delivery.subscription import Subscription
from fastgw.errors import UsageError
from fastgw.words import Intents

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
    """What begins a session reaches it without any handler, and nothing else does."""
    for name in ("READY", "RESUMED"):
        assert feed(name) is not None
        assert handlers.target_of(name) is None
    for name in ("RATE_LIMITED", "GUILD_MEMBERS_CHUNK"):  # nobody has asked for members
        assert feed(name) is None


def test_what_is_wanted_by_name_is_wanted_by_the_program(handlers):
    """Neither everything nor what is fastgw's own counts."""
    own = Subscription(("READY", "GUILD_CREATE"), print, is_own=True)
    handlers.add(own)
    handlers.on(("*",), lambda event: None)
    assert handlers.wanted_by_name(("READY", "GUILD_CREATE")) == []
    handlers.on(("READY",), lambda event: None)
    assert handlers.wanted_by_name(("READY", "GUILD_CREATE")) == ["READY"]


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
        (("on_message",), "did you mean MESSAGE_CREATE"),
        (("on_member_join",), "did you mean GUILD_MEMBER_ADD"),
        (("on_raw_reaction_add",), "did you mean MESSAGE_REACTION_ADD"),
        (("on_mesage_create",), "did you mean MESSAGE_CREATE"),
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


class _Callable:
    def __call__(self, one, two):
        """Take too many."""


def _two(one, two):
    """Take too many."""


@pytest.mark.parametrize(
    ("handler", "name", "function"),
    [
        (_two, "_two", _two),
        (functools.partial(_two), "partial of _two", _two),
        (_Callable(), "_Callable", _Callable.__call__),
        (_yields, "_yields", _yields),
    ],
)
def test_a_bad_handler_is_named_with_its_place(handlers, handler, name, function):
    """Not with an address in memory, which leads nowhere."""
    line = function.__code__.co_firstlineno
    with pytest.raises(UsageError) as raised:
        handlers.on(("A",), handler)
    assert str(raised.value).startswith(f"handler {name} ({__file__}:{line}) is ")


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


# ---------------------------------------------------------------------------- kinds of handlers


class _Bot:
    """Handlers as methods: sync and async, of an object or its class."""

    def __init__(self):
        self.seen = []

    def method(self, event):
        self.seen.append(("method", event.name))

    async def coroutine_method(self, event):
        await asyncio.sleep(0)
        self.seen.append(("coroutine method", event.name))

    def __call__(self, event):
        self.seen.append(("object", event.name))


async def test_methods_and_callable_objects_are_handlers(handlers, feed):
    """Whatever can be called with one event, or makes a coroutine of it."""
    bot = _Bot()
    handlers.on(("A",), bot.method)
    handlers.on(("A",), bot.coroutine_method)
    handlers.on(("A",), bot)
    feed("A")
    await handlers.tasks.drain(1.0)
    assert bot.seen == [("method", "A"), ("object", "A"), ("coroutine method", "A")]


def test_a_method_without_its_object_is_refused_with_advice(handlers):
    """Decorating in the class body sees a function of two arguments."""
    with pytest.raises(UsageError, match="register the bound method"):
        handlers.on(("A",), _Bot.method)


# ---------------------------------------------------------------------------- off


def test_what_is_taken_back_is_no_longer_called_or_wanted(handlers, feed):
    """The name is dropped unparsed again when nobody is left."""
    seen = []
    handlers.on(("A", "B"), seen.append)
    assert handlers.off(seen.append)
    assert feed("A") is None
    assert feed("B") is None
    assert not seen


def test_taking_back_some_names_leaves_the_others(handlers, feed):
    """off(handler, "A") says nothing of "B"."""
    seen = []
    handlers.on(("A", "B"), seen.append)
    assert handlers.off(seen.append, ("A",))
    assert not handlers.off(seen.append, ("A",))
    feed("A")
    feed("B")
    assert [event.name for event in seen] == ["B"]


class Names(str, enum.Enum):
    """Names as a program may keep them."""

    A = "A"
    Q = "q"


def test_names_may_be_those_of_an_enum(handlers, feed):
    """An enum of str is str: it registers, waits and takes back as plain strings do."""
    seen = []
    handlers.on((Names.A,), seen.append)
    handlers.route(Names.A, seen.append)
    assert feed("A")
    assert len(seen) == 2
    handlers.route("A", None)
    assert handlers.off(seen.append, (Names.A,))
    assert not handlers.interests.is_wanted("A")


async def test_iterators_and_waiters_take_names_of_an_enum(handlers, feed):
    """As handlers do."""
    stream = handlers.events((Names.A,), bound=None, policy="block")
    waiting = asyncio.ensure_future(handlers.wait_for((Names.A,), None, None))
    await asyncio.sleep(0)
    event = feed("A")
    assert await waiting is event
    assert await stream.__anext__() is event


def test_filters_take_values_of_an_enum(handlers, feed):
    """Every one of them; one that could not be compiled would stay in the way of all others."""
    seen = []
    x = field("x")
    every = (
        x.startswith(Names.Q) & x.startswith((Names.Q,)) & x.equals(Names.Q) & x.is_in([Names.Q])
    )
    handlers.on(("A",), seen.append, where=every)
    feed("A", b'{"x":"q"}')
    feed("A", b'{"x":"\\u0071"}')
    feed("A", b'{"x":"Names.Q"}')
    assert len(seen) == 2


def test_taking_back_leaves_other_handlers_alone(handlers, feed):
    """Those of the name, and those of everything."""
    seen, gone = [], []
    handlers.on(("*",), seen.append)
    handlers.on(("A",), gone.append)
    handlers.off(gone.append)
    feed("A")
    feed("B")
    handlers.off(seen.append)
    assert feed("A") is None
    assert len(seen) == 2
    assert not gone


def test_a_bound_method_is_found_again(handlers):
    """Each access to it makes another object; equal is enough."""
    bot = _Bot()
    handlers.on(("A",), bot.method)
    assert not handlers.off(_Bot().method)
    assert handlers.off(bot.method)
    assert not handlers.off(bot.method)


def test_a_handler_may_take_itself_back(handlers, feed):
    """From the next event on; those beside it have this event all the same."""
    seen = []

    def first(event):
        seen.append("first")
        handlers.off(first)
        handlers.on(("A",), lambda event: seen.append("late"))

    handlers.on(("A",), first)
    handlers.on(("A",), lambda event: seen.append("second"))
    feed("A")
    assert seen == ["first", "second"]
    feed("A")
    assert seen == ["first", "second", "second", "late"]


def test_who_asks_for_a_name_and_for_everything_is_called_once(handlers, feed):
    """One registration, one call an event."""
    seen = []
    handlers.on(("A", "*"), seen.append)
    feed("A")
    feed("B")
    assert [event.name for event in seen] == ["A", "B"]


# ---------------------------------------------------------------------------- once


@pytest.mark.parametrize("others", [0, 1])
def test_once_is_called_for_one_event_of_all_its_names(handlers, feed, others):
    """Then nobody wants them any more."""
    seen = []
    handlers.on(("A", "B"), seen.append, once=True)
    for _ in range(others):
        handlers.on(("A",), lambda event: None)
    for name in ("B", "A", "B"):
        feed(name)
    assert [event.name for event in seen] == ["B"]
    assert handlers.interests.is_wanted("A") == bool(others)
    assert not handlers.interests.is_wanted("B")


def test_once_ends_before_the_call(handlers, feed, caplog):
    """A handler that fails had its event; one that causes the next event is not called again."""
    count = 0

    def handler(event):
        nonlocal count
        count += 1
        feed("A")
        raise RuntimeError("oh no")

    handlers.on(("A",), handler, once=True)
    feed("A")
    assert count == 1
    assert handlers.failures.counts == {"A": 1}
    assert "handler failed on A 1" in caplog.text


async def test_once_holds_for_async_handlers(handlers, feed):
    """However fast the events come."""
    seen = []

    async def handler(event):
        await asyncio.sleep(0)
        seen.append(event.sequence)

    handlers.on(("A",), handler, once=True)
    for _ in range(3):
        feed("A")
    await handlers.tasks.drain(1.0)
    assert seen == [1]


# ---------------------------------------------------------------------------- routes


def test_a_route_alone_is_the_target_itself(handlers):
    """A library on top gets what a single sync handler gets: a direct call."""

    def target(event): ...

    handlers.route("A", target)
    assert handlers.target_of("A") is target
    handlers.route("A", None)
    assert handlers.target_of("A") is None
    assert not handlers.interests.is_wanted("A")


def test_a_route_comes_before_handlers_and_there_is_one(handlers, feed):
    """Whenever it is set; another one takes its place."""
    seen = []
    handlers.on(("*",), lambda event: seen.append("everything"))
    handlers.on(("A",), lambda event: seen.append("handler"))
    handlers.route("A", lambda event: seen.append("old"))
    handlers.route("A", lambda event: seen.append("route"))
    feed("A")
    assert seen == ["route", "handler", "everything"]


def test_a_route_of_everything_comes_before_handlers_of_a_name(handlers, feed):
    """Before all handlers means all."""
    seen = []
    handlers.on(("A",), lambda event: seen.append("handler"))
    handlers.route("*", lambda event: seen.append("route"))
    feed("A")
    feed("B")
    assert seen == ["route", "handler", "route"]


def test_a_route_is_not_warned_of(handlers):
    """Warnings are errors here: the library on top knows what its bot may receive."""
    Handlers(Intents(0)).route("MESSAGE_CREATE", print)


@pytest.mark.parametrize("target", [7, _Bot().coroutine_method])
def test_a_route_that_is_no_sync_callable_is_refused(handlers, target):
    """It is called bare: nobody would start a task."""
    with pytest.raises(UsageError, match="must be a sync callable"):
        handlers.route("A", target)


def test_off_does_not_take_a_route(handlers):
    """It is the library's own."""
    handlers.route("A", print)
    assert not handlers.off(print)
    assert handlers.target_of("A") is print


# ---------------------------------------------------------------------------- the end


def test_one_that_fails_at_the_end_silences_no_other(handlers, caplog):
    """It is logged with its traceback, and all who asked are told, once."""
    told = []

    def fails():
        told.append("first")
        raise RuntimeError("the pipe is gone")

    handlers.at_end(fails)
    handlers.at_end(lambda: told.append("second"))
    handlers.end()
    handlers.end()
    assert told == ["first", "second"]
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "fails" in record.getMessage()
    assert str(record.exc_info[1]) == "the pipe is gone"


def test_who_asks_for_the_end_after_it_is_told_at_once(handlers):
    """A publisher that opens while its gateway closes would never end."""
    told = []
    handlers.end()
    handlers.at_end(lambda: told.append("late"))
    assert told == ["late"]
