"""Handlers: routing, order, failures, tasks."""

import sys

import pytest

from fastgw.delivery.handlers import Handlers
from fastgw.errors import UsageError
from fastgw.protocol.wire import Intents

EAGER = sys.version_info >= (3, 12)


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
