"""Warnings about names: they point at the user's line, however a handler is registered."""

import sys
import typing
from pathlib import Path

import pytest

from fastgw import EventName, Gateway, Intents, MissingIntentWarning
from fastgw.protocol.events import EVENT_NAMES

LINES = Path(__file__).read_text(encoding="utf-8").splitlines()

# Python 3.10 calls a decorator on the line of the def below it.
DECORATORS_HAVE_LINES = sys.version_info >= (3, 11)


@pytest.fixture
def gateway():
    """A gateway that asked for no intent of messages."""
    return Gateway("a-token", intents=Intents.GUILDS)


def places(caught):
    """Return the lines of this file that warnings point at; a line elsewhere is its file's name."""
    return [
        LINES[warning.lineno - 1].strip() if warning.filename == __file__ else warning.filename
        for warning in caught
    ]


def test_the_warning_points_at_the_decorator_and_names_the_intent(gateway):
    """The usual way."""
    with pytest.warns(MissingIntentWarning, match="GUILD_MESSAGES or DIRECT_MESSAGES") as caught:

        @gateway.on("MESSAGE_CREATE")
        def handler(event): ...

    line = '@gateway.on("MESSAGE_CREATE")' if DECORATORS_HAVE_LINES else "def handler(event): ..."
    assert places(caught) == [line]


def test_each_of_stacked_decorators_is_pointed_at(gateway):
    """The innermost registers first."""
    with pytest.warns(MissingIntentWarning) as caught:

        @gateway.on("MESSAGE_CREATE")
        @gateway.on("MESSAGE_UPDATE")
        async def handler(event): ...

    lines = ['@gateway.on("MESSAGE_UPDATE")', '@gateway.on("MESSAGE_CREATE")']
    if not DECORATORS_HAVE_LINES:
        lines = ["async def handler(event): ..."] * 2
    assert places(caught) == lines


def test_a_class_that_registers_its_methods_is_pointed_at(gateway):
    """At the line in its __init__, not at the one that makes the object."""

    class Plugin:
        def __init__(self):
            gateway.on("MESSAGE_CREATE")(self.handle)  # here

        def handle(self, event): ...

    with pytest.warns(MissingIntentWarning) as caught:
        Plugin()
    assert places(caught) == ['gateway.on("MESSAGE_CREATE")(self.handle)  # here']


def test_a_decorator_of_the_users_own_is_pointed_at(gateway):
    """We cannot see through what they wrote around it."""

    def mine(handler):
        return gateway.on("MESSAGE_CREATE")(handler)  # mine

    with pytest.warns(MissingIntentWarning) as caught:

        @mine
        def handler(event): ...

    assert places(caught) == ['return gateway.on("MESSAGE_CREATE")(handler)  # mine']


@pytest.mark.parametrize("package", ["fastgw_bot", "fastgw_bot.cogs", "fastgwbot"])
def test_a_users_package_may_be_named_like_ours(gateway, package):
    """fastgw_bot is not fastgw: the warning stops there."""
    code = compile("gateway.on('MESSAGE_CREATE')(print)", "bot.py", "exec")
    with pytest.warns(MissingIntentWarning) as caught:
        exec(code, {"__name__": package, "gateway": gateway})
    assert places(caught) == ["bot.py"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MESSAGE_CRATE", "MESSAGE_CREATE"),
        ("GUILD_MEMBERS_ADD", "GUILD_MEMBER_ADD"),
        ("VOICE_STATES_UPDATE", "VOICE_STATE_UPDATE"),
        ("TYPING_STARTED", "TYPING_START"),
        ("REDY", "READY"),
        ("RESUME", "RESUMED"),
    ],
)
def test_a_slip_is_told_what_was_meant(gateway, caplog, name, meant):
    """However long the name is."""
    gateway.on(name)(print)
    assert f"{name} is not a documented event; did you mean {meant}?" in caplog.text


# Discord sends these, or did, and documents none of them.
@pytest.mark.parametrize(
    "name",
    [
        "GUILD_MEMBER_LIST_UPDATE",
        "GUILD_JOIN_REQUEST_CREATE",
        "MESSAGE_REACTION_ADD_MANY",
        "CHANNEL_UPDATE_PARTIAL",
        "SESSIONS_REPLACE",
    ],
)
def test_a_name_that_is_not_documented_is_no_slip(gateway, caplog, name):
    """It is taken as it is, in silence."""
    gateway.on(name)(print)
    assert not caplog.records


def test_the_names_for_completion_are_the_names_that_are_known():
    """One list serves type checkers and warnings."""
    assert set(typing.get_args(EventName)) == EVENT_NAMES
