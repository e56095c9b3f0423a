"""What each family of libraries supplies: how a bot is taken over, and what it wants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..gateway import Gateway
    from .verdict import Choice, Verdict

__all__ = ["Link"]


class Interests(Protocol):
    """What a bot wants, event by event, as things are at this moment."""

    def events(self) -> list[str]:
        """Return the names of all events that the library knows, sorted."""

    def of(self, event: str, /) -> Verdict:
        """Judge an event."""

    def advice(self) -> list[str]:
        """Say which of the library's caches could go, and what that would save."""


class Link(ABC):
    """
    A bot, and the gateway that it connects by.

    Making one checks what cannot work, and changes nothing; `install` does.

    Args:
        bot: whose.
        choice: what `attach()` was told of events.
        options: of the gateway, beyond what the bot itself says.
    Attributes:
        library: which, and its version, as `str` shows it.
        made: the gateway of this run, or of the last; None before the first.
    Raises:
        UsageError: the library lacks what this needs, or the bot or an option could not work.
    """

    library: Any

    def __init__(self, bot: Any, choice: Choice, options: Mapping[str, Any]) -> None:
        self.bot = bot
        self.choice = choice
        # Libraries show a latency that is infinite or nan until it is known, and bots round it.
        self.options = {"early_heartbeat": True, **options}
        self.made: Gateway | None = None

    @classmethod
    @abstractmethod
    def of(cls, bot: Any) -> Link | None:
        """Return the link that is installed in a bot."""

    @property
    def gateway(self) -> Gateway | None:
        """What `Attachment.gateway` is."""
        return self.made

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether the bot runs."""

    @property
    @abstractmethod
    def intents(self) -> int:
        """The bits that the bot identifies with."""

    @abstractmethod
    def install(self) -> None:
        """Change the bot, so that it connects by us."""

    @abstractmethod
    def uninstall(self) -> None:
        """Change it back."""

    @property
    @abstractmethod
    def interests(self) -> Interests:
        """What the bot wants."""
