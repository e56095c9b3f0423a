"""What a program keeps of `attach()`, and why each event is delivered or dropped."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..protocol.events import EVENT_INTENTS
from ..words import Intents
from .verdict import Verdict, Wanted

if TYPE_CHECKING:
    from ..gateway import Gateway
    from .link import Link

__all__ = ["Attachment", "Explanation", "Reason"]

# A column of text that is narrower than this is none.
LEAST_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Why an event is delivered to the library, or is not.

    Attributes:
        event: its name.
        is_delivered: whether all of them are.
        own_only: those about the bot itself are.
        commands_only: those that begin with a prefix of its commands are.
        because: in words, one of them at least.
        seen, delivered: how often it came, and how often it went to the library.
        bytes: what it came with.
    """

    event: str
    is_delivered: bool
    own_only: bool
    because: tuple[str, ...]
    seen: int = 0
    delivered: int = 0
    bytes: int = 0
    commands_only: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    What `Attachment.explain()` returns; `print` it.

    Attributes:
        library: which, and its version.
        reasons: one an event, those that cost most first.
        advice: what the bot could do without, in words.
    """

    library: str
    reasons: tuple[Reason, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return all of it as text: a line for each event, or as many as fit so many columns."""
        lines = [f"{self.library} on fastgw", ""]
        names = max((len(reason.event) for reason in self.reasons), default=0)
        has_run = any(reason.seen for reason in self.reasons)
        for reason in self.reasons:
            fate = "delivered" if reason.is_delivered else "dropped  "
            if reason.own_only:
                fate = "own only "
            elif reason.commands_only:
                fate = "commands "
            counts = f"{reason.delivered:>9,} of {reason.seen:>9,}" if reason.seen else " " * 22
            columns = (f"{reason.event:{names}}", fate, *([counts] if has_run else []))
            head = "  ".join(columns) + "  "
            lines += _fitted("; ".join(reason.because), width, head, " " * len(head))
        if self.advice:
            lines.append("")
            for advice in self.advice:
                lines += _fitted(advice, width, "- ", "  ")
        return "\n".join(lines)


def _fitted(text: str, width: int | None, head: str, indent: str) -> list[str]:
    """Return a text behind its head, as one line, or as several that are no wider than this."""
    if width is None or len(head + text) <= width:
        return [head + text]
    if width - len(head) >= LEAST_COLUMNS:
        return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=indent)
    below = " " * 4
    width = max(width, len(below) + LEAST_COLUMNS)
    lines = textwrap.wrap(text, width, initial_indent=below, subsequent_indent=below)
    return [head.rstrip(), *lines]


class Attachment:
    """
    A bot of another library that runs on fastgw's gateway; `attach()` makes it.

    The bot is started and closed as ever. While it runs, this belongs to the thread of its loop, as
    the gateway does.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def __repr__(self) -> str:
        return f"<Attachment of {type(self._link.bot).__name__} of {self._link.library}>"

    @property
    def gateway(self) -> Gateway | None:
        """
        The gateway: health, status, and handlers of fastgw's own beside the library's.

        A new one each time that the bot connects. Before the first time there is one for a hikari
        bot; None for others, whose token comes with `run()`. From any thread.
        """
        return self._link.gateway

    def detach(self) -> None:
        """
        Leave the bot to its own gateway again; nothing, when it has it already.

        Raises:
            UsageError: it runs.
        """
        self._check_thread("detach")
        link = self._link
        if link.is_running:
            raise UsageError("the bot runs: detach() comes before it is started, or after its end")
        if link.of(link.bot) is link:
            link.uninstall()

    def explain(self) -> Explanation:
        """Say of each event why the library gets it or does not, as it is at this moment."""
        self._check_thread("explain")
        link = self._link
        # `made`: to be explained before it runs must not make a gateway.
        counted = {} if link.made is None else link.made.stats().events
        wants = link.interests
        verdicts = {event: wants.of(event) for event in wants.events()}
        reasons = []
        for event, verdict in verdicts.items():
            counts = counted.get(event)
            reasons.append(
                Reason(
                    event,
                    is_delivered=verdict.wanted is Wanted.WHOLE,
                    own_only=verdict.wanted is Wanted.OWN,
                    because=verdict.because,
                    seen=counts.seen if counts else 0,
                    delivered=counts.delivered if counts else 0,
                    bytes=counts.bytes if counts else 0,
                    commands_only=verdict.wanted is Wanted.COMMANDS,
                )
            )
        reasons.sort(key=lambda reason: (-reason.bytes, reason.event))
        advice = _idle_intents(link.intents, verdicts) + wants.advice()
        return Explanation(str(link.library), tuple(reasons), tuple(advice))

    def _check_thread(self, what: str) -> None:
        """Refuse another thread while there is a loop: bot and gateway change there."""
        gateway = self._link.made
        if gateway is not None and not (home := gateway._fleet.home).has_ended:
            home.check_thread(f"Attachment.{what}")


def _idle_intents(intents: int, verdicts: Mapping[str, Verdict]) -> list[str]:
    """Say which intents are on, and open events that are all dropped."""
    opening = useful = Intents(0)
    for event, verdict in verdicts.items():
        gates = EVENT_INTENTS.get(event, Intents(0))
        opening |= gates
        # Of the bot itself events come without the intent.
        if verdict.wanted not in (Wanted.NOTHING, Wanted.OWN):
            useful |= gates
    # Without GUILDS a library knows no guild at all.
    idle = Intents(intents) & opening & ~useful & ~Intents.GUILDS
    names = ", ".join(intent.name for intent in Intents if intent in idle and intent.name)
    return [f"intents that open nothing that anybody needs: {names}"] if names else []
