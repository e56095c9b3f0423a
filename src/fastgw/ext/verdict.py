"""What a library gets of an event, and why; what the caller of `attach()` says of that himself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Choice", "Verdict", "Wanted"]


class Wanted(Enum):
    """How much of an event the library gets."""

    WHOLE = "whole"
    OWN = "only what is about the bot itself"
    COMMANDS = "only what begins with a prefix of commands"
    NAME = "its name"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the library gets of an event.

    Attributes:
        wanted: how much.
        because: why, in words; one of them at least.
        prefixes: those of commands, where it gets no more; none while they are not known yet.
    """

    wanted: Wanted
    because: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What `attach()` was told: it comes before all that is derived of the bot.

    Attributes:
        keep, drop: names of events that are always, or never, delivered.
        is_filtering: False delivers everything but `drop`.
        prefix_filter: deliver messages only if they begin with a prefix of the bot's commands, or
            with one of these; False delivers all, where anybody needs them.
    """

    keep: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    is_filtering: bool = True
    prefix_filter: bool | tuple[str, ...] = False

    def of(self, event: str) -> Verdict | None:
        """Return what was said of an event; None leaves it to the bot."""
        if event in self.drop:
            return Verdict(Wanted.NOTHING, ("drop= of attach()",))
        if event in self.keep:
            return Verdict(Wanted.WHOLE, ("keep= of attach()",))
        if not self.is_filtering:
            return Verdict(Wanted.WHOLE, ("filter=False of attach()",))
        return None
