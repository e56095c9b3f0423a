"""
Which events the library needs: an event is dropped only if nobody listens to any of its dispatches
and no cache that is on could tell the difference. Unknown means wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import UsageError
from ...log import careful_logger
from ..verdict import Choice, Verdict, Wanted
from .library import Library
from .listeners import Listeners
from .parsers import Parser, known_parsers, read_parsers
from .prefixes import Prefixes
from .rules import RULES, Rule, why_always

__all__ = ["Interests"]

log = careful_logger("fastgw.attach")

_EVERY_EVENT = "socket_event_type"
_SHOW_MEMBERS = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
# Whoever sets this attribute of a client sees every dispatch.
_DISPATCH = "dispatch"


class Interests:
    """
    What a client wants, event by event, at any moment.

    Args:
        client, library: whose.
        choice: what `attach` was told.
    Raises:
        UsageError: prefixes are to be filtered, and cannot.
    """

    def __init__(self, client: Any, library: Library, choice: Choice) -> None:
        self._client = client
        self._library = library
        self._choice = choice
        self._changed: Callable[[list[str]], None] = lambda events: None
        state_class = type(client._connection)
        try:
            self._parsers = read_parsers(state_class)
        except OSError:
            self._parsers = {}
            log.warning("%s has no source to read: every event is delivered to it", library)
        known = known_parsers(library.name)
        self._unknown = {
            name
            for name in RULES
            if name in self._parsers and self._parsers[name].fingerprint not in known.get(name, ())
        }
        if self._unknown and self._parsers:
            log.info(
                "%s: %d parsers are not known to fastgw, their events are always delivered",
                library, len(self._unknown),
            )  # fmt: skip
        self._events_of: dict[str, list[str]] = {}
        for event, parser in self._parsers.items():
            for name in parser.dispatches or ():
                self._events_of.setdefault(name, []).append(event)
        self._listeners = Listeners(client, library.package, self._listener_changed)
        self._prefixes = self._filtered_prefixes()

    def _filtered_prefixes(self) -> Prefixes | None:
        asked = self._choice.prefix_filter
        if not asked:
            return None
        named = () if isinstance(asked, bool) else asked
        prefixes = Prefixes(self._client, self._library.package, named)
        if others := self._beside_commands():
            raise UsageError(
                "attach(prefix_filter=...) cannot be where others need every message: "
                f"{', '.join(others)}; leave it out, or do without them"
            )
        return prefixes

    def watch(self, changed: Callable[[list[str]], None]) -> None:
        """Change the client, so that `changed` is told the events whose verdict may be another."""
        self._changed = changed
        self._listeners.watch()

    def look(self) -> None:
        """Look for what comes and goes without anybody being told."""
        self._listeners.look()

    def forget(self) -> None:
        """Leave the client alone."""
        self._listeners.forget()

    def events(self) -> list[str]:
        """Return the names of all events that the library has a parser for."""
        return sorted(self._client._connection.parsers)

    def _listener_changed(self, dispatch: str) -> None:
        if dispatch in (_EVERY_EVENT, _DISPATCH):
            self._changed(self.events())
        else:
            self._changed(self._events_of.get(dispatch, []))

    # --- the verdict -----------------------------------------------------------------------------

    def of(self, event: str) -> Verdict:
        """Judge an event."""
        if (said := self._choice.of(event)) is not None:
            return said
        if why := self._everything():
            return Verdict(Wanted.WHOLE, (why,))
        verdict = self._by_rule(event)
        if verdict.wanted is not Wanted.WHOLE and (heard := self._who(_EVERY_EVENT)):
            return Verdict(Wanted.NAME if verdict.wanted is Wanted.NOTHING else Wanted.WHOLE, heard)
        return verdict

    @property
    def hears_every_name(self) -> bool:
        """Whether the client is told the name of each event, also where it has no parser."""
        return bool(self._who(_EVERY_EVENT) or self._everything())

    def _everything(self) -> str | None:
        """Why every event is wanted, if it is."""
        dispatch = self._client.dispatch
        module = str(getattr(dispatch, "__module__", ""))
        if module.partition(".")[0] != self._library.package:
            where = getattr(dispatch, "__qualname__", "dispatch")
            return f"dispatch() is overridden: {where}"
        return None

    def _by_rule(self, event: str) -> Verdict:
        state = self._client._connection
        parser = state.parsers.get(event)
        if parser is None:
            return Verdict(Wanted.NOTHING, ("the library has no parser for it",))
        own = getattr(type(state), f"parse_{event.lower()}", None)
        if getattr(parser, "__func__", parser) is not own:
            return Verdict(Wanted.WHOLE, ("its parser was replaced",))
        rule = RULES.get(event)
        read: Parser | None = self._parsers.get(event)
        if rule is None:
            names = () if read is None else sorted(read.dispatches or ())
            heard = tuple(why for name in names for why in self._who(name))
            return Verdict(Wanted.WHOLE, (*heard, f"always: {why_always(event)}"))
        if read is None or event in self._unknown or read.dispatches is None:
            return Verdict(Wanted.WHOLE, (f"this parser of {self._library} is not known",))
        if event == "MESSAGE_CREATE" and (verdict := self._of_commands()) is not None:
            return verdict
        if heard := tuple(why for name in sorted(read.dispatches) for why in self._who(name)):
            return Verdict(Wanted.WHOLE, heard)
        if cached := self._caches(event, rule):
            return Verdict(Wanted.WHOLE, cached)
        nobody = "nobody listens to " + ", ".join(f"on_{name}" for name in sorted(read.dispatches))
        if rule is Rule.OWN_MEMBER:
            return Verdict(Wanted.OWN, (f"the bot's own member; {nobody}",))
        return Verdict(Wanted.NOTHING, (nobody,))

    def _of_commands(self) -> Verdict | None:
        """Judge messages whose prefixes are filtered; None where that does not settle it."""
        prefixes = None if self._prefixes is None else self._prefixes.now()
        if prefixes is None or self._beside_commands():
            return None
        if not (heard := self._who("message")):
            return Verdict(Wanted.NOTHING, ("prefix_filter= of attach(), and no prefix command",))
        named = ", ".join(map(repr, prefixes)) or "known when READY has come"
        return Verdict(Wanted.COMMANDS, (*heard, f"prefixes: {named}"), prefixes)

    def _beside_commands(self) -> tuple[str, ...]:
        """Say who needs messages that are no command."""
        cached = self._client._connection._messages
        kept = () if cached is None else (f"max_messages={cached.maxlen}",)
        return (*self._listeners.beside_commands(), *kept)

    def _who(self, dispatch: str) -> tuple[str, ...]:
        return tuple(self._listeners.of(dispatch))

    def _caches(self, event: str, rule: Rule) -> tuple[str, ...]:
        """Which caches would miss it."""
        state = self._client._connection
        found = []
        if rule is Rule.MESSAGES:
            if state._messages is not None:
                found.append(f"max_messages={state._messages.maxlen}")
            views = getattr(getattr(state, "_view_store", None), "_synced_message_views", ())
            if event == "MESSAGE_UPDATE" and views:
                found.append(f"{len(views)} views that follow their message")
        # A message shows its author's roles and nick, and the cached member takes them over.
        if state.member_cache_flags.value and (
            event in _SHOW_MEMBERS or rule in (Rule.MEMBERS, Rule.OWN_MEMBER)
        ):
            flags = [name for name, is_on in state.member_cache_flags if is_on]
            found.append(f"member_cache_flags: {', '.join(flags)}")
        return tuple(found)

    def advice(self) -> list[str]:
        """Say which caches could go, and what that would save."""
        state = self._client._connection
        found = []
        if state._messages is not None:
            found.append(
                "max_messages=None would let messages go that nobody listens to: the cache of "
                f"{state._messages.maxlen} needs them all"
            )
        if self._prefixes is None and self._who("message") and not self._beside_commands():
            found.append(
                "attach(prefix_filter=True) would let messages go that begin with no prefix: only "
                "prefix commands need them"
            )
        if state.member_cache_flags.value:
            found.append(
                "member_cache_flags=MemberCacheFlags.none() would let updates of members and "
                "presences, and messages, go that nobody listens to"
            )
        return found
