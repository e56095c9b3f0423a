"""
What messages begin with that hold a command, where that is known before they are parsed.

A prefix that is a function is asked for each message, and may look at all of it. Two of the
library's own functions look at nothing but the bot's id, and so are known when READY has come.
"""

from __future__ import annotations

import sys
from typing import Any

from ...errors import UsageError
from ...quoting import quote

__all__ = ["Prefixes"]

# With the library's package before it; the second is what `when_mentioned_or(...)` returns.
_OF_THE_ID = ("when_mentioned", "when_mentioned_or.<locals>.inner")


class Prefixes:
    """
    The prefixes of one bot.

    Args:
        client: whose.
        package: of the library.
        named: those that `attach` was told, if it was; they are believed.
    Raises:
        UsageError: the bot has no prefixes, or others than those that are named.
    """

    def __init__(self, client: Any, package: str, named: tuple[str, ...]) -> None:
        self._client = client
        self._package = package
        self._named = named
        if getattr(client, "command_prefix", None) is None:
            raise UsageError(
                f"attach(prefix_filter=...) is for bots with prefix commands, and this "
                f"{type(client).__name__} has no command_prefix; leave it out"
            )
        known = self._known()
        if known is None and not named:
            raise UsageError(
                f"attach(prefix_filter=True) cannot know the prefixes of this bot: {self._why()}; "
                "name all that there may be, prefix_filter=['!', '?'], or leave it out"
            )
        if "" in (known or ()) or "" in named:
            raise UsageError(
                "attach(prefix_filter=...) cannot be with an empty prefix: every message may be a "
                "command; leave it out"
            )
        for prefix in known or () if named else ():
            if not prefix.startswith(named):
                raise UsageError(
                    f"attach(prefix_filter=...) leaves out {quote(prefix)}, which is a prefix of "
                    "the bot: name it, too, or say prefix_filter=True"
                )

    def now(self) -> tuple[str, ...] | None:
        """Return those that count at this moment; None when any message may be a command."""
        return self._named or self._known()

    def _known(self) -> tuple[str, ...] | None:
        if self._has_own_way():
            return None
        prefix = self._client.command_prefix
        if callable(prefix):
            if not self._is_of_the_id(prefix):
                return None
            # Before READY nobody knows the id (disnake has a sentinel), and no message comes.
            prefix = prefix(self._client, None) if hasattr(self._client.user, "id") else ()
        found = (prefix,) if isinstance(prefix, str) else tuple(prefix or ())
        return found if all(isinstance(one, str) for one in found) else None

    def _has_own_way(self) -> bool:
        module = str(type(self._client).get_prefix.__module__)
        return module.partition(".")[0] != self._package

    def _is_of_the_id(self, function: Any) -> bool:
        library = sys.modules[f"{self._package}.ext.commands"].when_mentioned
        name = getattr(function, "__qualname__", "")
        return name in _OF_THE_ID and function.__module__ == library.__module__

    def _why(self) -> str:
        if self._has_own_way():
            return "get_prefix() is overridden"
        prefix = self._client.command_prefix
        if callable(prefix):
            return f"command_prefix is a function, {getattr(prefix, '__qualname__', prefix)}"
        return "command_prefix is neither a string nor a list of strings"
