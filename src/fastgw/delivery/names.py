"""The names that handlers are registered for: which are none, and which never come."""

from __future__ import annotations

import re
import sys
import warnings
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..log import careful_logger
from ..protocol.events import EVENT_INTENTS, EVENT_NAMES

if TYPE_CHECKING:
    from ..words import Intents

__all__ = [
    "EVERYTHING",
    "MissingIntentWarning",
    "advice_on",
    "check_names",
    "is_event_name",
    "likely_meant",
    "warn_of",
]

log = careful_logger("fastgw.handlers")

EVERYTHING = "*"
# Every name in Discord's docs, "Gateway Events", is spelt so; with other characters it is a typo.
_NAME = re.compile(r"[A-Z0-9_]+\Z")
# With the dot: a user's package may be called fastgw_bot.
_OURS = __name__.partition(".")[0] + "."
# What listeners of discord.py are called, where it is not the event's name behind "on_".
_OF_LISTENERS = {
    "GUILD_JOIN": "GUILD_CREATE",
    "GUILD_REMOVE": "GUILD_DELETE",
    "INTERACTION": "INTERACTION_CREATE",
    "MEMBER_JOIN": "GUILD_MEMBER_ADD",
    "MEMBER_REMOVE": "GUILD_MEMBER_REMOVE",
    "MEMBER_UPDATE": "GUILD_MEMBER_UPDATE",
    "MESSAGE": "MESSAGE_CREATE",
    "MESSAGE_EDIT": "MESSAGE_UPDATE",
    "REACTION_ADD": "MESSAGE_REACTION_ADD",
    "REACTION_REMOVE": "MESSAGE_REACTION_REMOVE",
    "TYPING": "TYPING_START",
}


class MissingIntentWarning(UserWarning):
    """A handler waits for an event that Discord does not send without an intent not asked for."""


def check_names(names: tuple[object, ...]) -> tuple[str, ...]:
    """
    Return names of events, or "*", as plain strings; what is compiled takes no enum's.

    Raises:
        UsageError: none, or not such names.
    """
    plain: list[str] = []
    if len(names) == 1 and callable(names[0]) and not isinstance(names[0], str):
        raise UsageError('write @gateway.on("MESSAGE_CREATE"), with the name of the event')
    if not names:
        raise UsageError('name at least one event: @gateway.on("MESSAGE_CREATE")')
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"an event name is a str, not {type(name).__name__}")
        if name != EVERYTHING and not is_event_name(name):
            advice = advice_on(name)
            raise UsageError(
                f"{name!r} is not an event name: those look like MESSAGE_CREATE{advice}"
            )
        plain.append(str.__str__(name))
    return tuple(plain)


def is_event_name(name: str) -> bool:
    """Tell whether this is spelt as names of events are; Discord need not send it."""
    return _NAME.match(name) is not None


def advice_on(name: str) -> str:
    """Return "; did you mean READY?" for what is spelt otherwise, such as on_ready; else ""."""
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s.-]+", "_", name)
    bare = bare.removeprefix("on_").removeprefix("raw_").upper()
    meant = _OF_LISTENERS.get(bare, bare)
    if meant not in EVENT_NAMES:
        meant = likely_meant(meant) or ""
    return f"; did you mean {meant}?" if meant else ""


def warn_of(name: str, intents: Intents) -> None:
    """Warn, at the user's line, of a name that never comes; log one that looks misspelt."""
    if name == EVERYTHING:
        return
    gates = EVENT_INTENTS.get(name)
    if gates and not gates & intents:
        wanted = " or ".join(gates.names())
        warnings.warn(
            f"{name} never comes without the intent {wanted}: add it to intents=",
            MissingIntentWarning,
            stacklevel=_depth_of_caller(),
        )
    elif meant := likely_meant(name):
        log.warning("%s is not a documented event; did you mean %s?", name, meant)


def likely_meant(name: str) -> str | None:
    """Return the documented name that this one is a slip of, if it looks like one and is not it."""
    if name in EVENT_NAMES:
        return None
    import difflib  # here, as few programs misspell a name

    # 0.9 is one slip in ten letters: names that Discord sends without documenting them, such as
    # GUILD_MEMBER_LIST_UPDATE, are less like their neighbours. In a short name one slip is more.
    likeness = 0.75 if len(name) <= len("RESUMED") + 1 else 0.9
    close = difflib.get_close_matches(name, EVENT_NAMES, 1, likeness)
    return close[0] if close else None


def _depth_of_caller() -> int:
    """Return the stacklevel of the first frame outside fastgw, for a warning's place."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        depth, frame = depth + 1, frame.f_back
    return depth
