"""Who listens to what in a client, and hearing of it when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

__all__ = ["Listeners"]

# Name -> coroutines of `add_listener` and cogs: discord.py, disnake and nextcord; py-cord.
_ADDED = ("extra_events", "_event_handlers")
# Where commands.Bot looks at messages, also at those that are no command.
_LOOKS_AT_ALL = ("process_commands", "get_context", "invoke")
_OF_COMMANDS = (*_LOOKS_AT_ALL, "on_command_error")
_PREFIX = "command_prefix"
# Of the view store: message id -> the view that MESSAGE_UPDATE brings up to date.
_VIEWS = "_synced_message_views"
# What MESSAGE_UPDATE dispatches, whatever else it does.
_EDITED = "raw_message_edit"


class Listeners:
    """
    The listeners of one client.

    The client's dicts are replaced by ones that tell of new keys, and its class by one that tells
    of `client.on_x = f`: a listener is known before the call that registers it returns. A name
    whose listeners have all gone is noticed by `look`.

    Args:
        client: whose.
        package: of the library.
        changed: is told the name of a dispatch that somebody began or ceased to listen to.
    """

    def __init__(self, client: Any, package: str, changed: Callable[[str], None]) -> None:
        self._client = client
        self._package = package
        self._changed = changed
        self._own_class = type(client)

    def watch(self) -> None:
        """Change the client, so that it tells."""
        self._client.__class__ = _class_that_tells(cast("Any", self._own_class))
        self._client.__dict__["_fastgw_listeners"] = self
        self.look()

    def forget(self) -> None:
        """Leave the client alone; its dicts go on working."""
        self._client.__dict__.pop("_fastgw_listeners", None)
        self._client.__class__ = self._own_class

    def look(self) -> None:
        """Watch dicts that are new, and take note of names that nobody listens to any more."""
        for name in ("_listeners", *_ADDED):
            _watch(self._client, name, self.attribute_changed)
        _watch(self._client, "all_commands", self.command_changed)
        _watch(getattr(self._client._connection, "_view_store", None), _VIEWS, self.view_changed)
        for name in _ADDED:
            added = vars(self._client).get(name) or {}
            for key in [key for key, functions in added.items() if not functions]:
                del added[key]

    def attribute_changed(self, name: str) -> None:
        """Something called so came or went: `on_message` of the client, `message` of wait_for."""
        if name == _PREFIX:
            self._changed("message")
            return
        bare = name.removeprefix("on_")
        self._sweep()
        self._changed(bare)
        if bare == "command_error":  # it hears of messages that are no command
            self._changed("message")

    def view_changed(self, _message_id: int) -> None:
        """A view began or ceased to follow its message."""
        self._sweep()
        self._changed(_EDITED)

    def command_changed(self, name: str) -> None:
        """A prefix command came or went: the bot's own on_message begins or ceases to matter."""
        self._sweep()
        self._changed("message")

    def _sweep(self) -> None:
        """Drop lists that remove_listener() left empty: they would be filled without a new key."""
        for kind in _ADDED:
            added = vars(self._client).get(kind) or {}
            for key in [key for key, functions in added.items() if not functions]:
                dict.pop(added, key)

    def of(self, name: str) -> Iterator[str]:
        """Say who listens to a dispatch, in words."""
        method = f"on_{name}"
        own = getattr(self._client, method, None)
        if own is not None and (why := self._of_client(own, method)):
            yield why
        yield from self._beside_client(name)

    def beside_commands(self) -> Iterator[str]:
        """Say who listens to messages that begin with no prefix, or may."""
        own = getattr(self._client, "on_message", None)
        if own is not None and self._is_the_users(own):
            yield "on_message"
        for name in _LOOKS_AT_ALL:
            if self._is_the_users(getattr(self._client, name, None)):
                yield f"{name}() is overridden"
        yield from self._beside_client("message")

    def _beside_client(self, name: str) -> Iterator[str]:
        method = f"on_{name}"
        if name in vars(self._client).get("_listeners", ()):
            yield f"wait_for({name!r})"
        for kind in _ADDED:
            for function in (vars(self._client).get(kind) or {}).get(method, ()):
                cog = getattr(function, "__self__", None)
                where = "" if cog is None else f" in cog {type(cog).__name__}"
                called = getattr(function, "__name__", method)
                yield f"{called}{where}" if called != method or where else method

    def _of_client(self, function: Any, method: str) -> str | None:
        if method != "on_message" or self._is_the_users(function):
            return method
        # What commands.Bot has of its own: it only looks for prefix commands.
        commands = getattr(self._client, "all_commands", None)
        if commands is None:
            return method
        if commands:
            return f"prefix commands ({len(commands)})"
        for name in _OF_COMMANDS:
            if self._is_the_users(getattr(self._client, name, None)):
                return f"{name}() is overridden"
        if any("on_command_error" in (vars(self._client).get(kind) or {}) for kind in _ADDED):
            return "on_command_error"
        return None

    def _is_the_users(self, function: Any) -> bool:
        module = getattr(function, "__module__", None)
        return module is not None and module.partition(".")[0] != self._package


def _watch(owner: Any, name: str, changed: Callable[[Any], None]) -> None:
    """Replace a dict of an object by one that tells of changes; once, and then tell us."""
    found: Any = getattr(owner, "__dict__", {}).get(name)
    if not isinstance(found, dict):
        return
    if not hasattr(found, "fastgw_changed"):
        found = _dict_that_tells(cast("Any", type(found)))(found)
        object.__setattr__(owner, name, found)
    found.fastgw_changed = changed  # it may have told an attachment that is over


@cache
def _dict_that_tells(kind: Any) -> Any:
    class DictThatTells(kind):  # type: ignore[misc]
        """Says which keys change."""

        fastgw_changed: Callable[[str], None] = staticmethod(lambda name: None)

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            self.fastgw_changed(key)

        def __delitem__(self, key: Any) -> None:
            super().__delitem__(key)
            self.fastgw_changed(key)

        def pop(self, key: Any, *default: Any) -> Any:
            value = super().pop(key, *default)
            self.fastgw_changed(key)
            return value

        def setdefault(self, key: Any, default: Any = None) -> Any:
            value = super().setdefault(key, default)
            self.fastgw_changed(key)
            return value

        def update(self, *others: Any, **more: Any) -> None:
            new = dict(*others, **more)
            super().update(new)
            for key in new:
                self.fastgw_changed(key)

        def clear(self) -> None:
            keys = list(self)
            super().clear()
            for key in keys:
                self.fastgw_changed(key)

    return DictThatTells


def _matters(name: str) -> bool:
    return name.startswith("on_") or name in ("dispatch", _PREFIX)


@cache
def _class_that_tells(kind: Any) -> Any:
    class ClassThatTells(kind):  # type: ignore[misc]
        """Says when `on_...`, or `dispatch`, is set on an object."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if _matters(name) and "_fastgw_listeners" in self.__dict__:
                self.__dict__["_fastgw_listeners"].attribute_changed(name)

        def __delattr__(self, name: str) -> None:
            super().__delattr__(name)
            if _matters(name) and "_fastgw_listeners" in self.__dict__:
                self.__dict__["_fastgw_listeners"].attribute_changed(name)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(ClassThatTells, name, getattr(kind, name))
    return ClassThatTells
