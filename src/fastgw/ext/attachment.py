"""What a program keeps of `attach()`, and why each event is delivered or dropped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["Attachment", "Explanation", "Reason"]


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Why an event is delivered to the library, or is not.

    Attributes:
        event: its name.
        is_delivered: whether it is; with `own_only` only where it is about the bot itself.
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
        lines = [f"{self.library} on fastgw", ""]
        width = max((len(reason.event) for reason in self.reasons), default=0)
        for reason in self.reasons:
            fate = "delivered" if reason.is_delivered else "dropped  "
            if reason.own_only:
                fate = "own only "
            counts = f"{reason.delivered:>9,} of {reason.seen:>9,}" if reason.seen else " " * 22
            lines.append(f"{reason.event:{width}}  {fate}  {counts}  {'; '.join(reason.because)}")
        if self.advice:
            lines += ["", *(f"- {line}" for line in self.advice)]
        return "\n".join(lines)


class Attachment(ABC):
    """
    A bot of another library that runs on fastgw's gateway; `attach()` makes it.

    The bot is started and closed as ever.
    """

    @property
    @abstractmethod
    def gateway(self) -> Gateway | None:
        """
        The gateway: health, status, and handlers of fastgw's own beside the library's.

        None until the bot connects, and a new one each time that it does.
        """

    @abstractmethod
    def detach(self) -> None:
        """
        Leave the bot to its own gateway again.

        Raises:
            UsageError: it runs.
        """

    @abstractmethod
    def explain(self) -> Explanation:
        """Say of each event why the library gets it or does not, as it is at this moment."""
