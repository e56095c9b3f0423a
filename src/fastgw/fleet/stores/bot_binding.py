"""Whose sessions a store holds: nothing of one bot goes into the store of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["BotBinding", "bot_id_in"]


def bot_id_in(ready: Mapping[str, Any]) -> int | None:
    """Return the bot's user id out of READY; None where a service leaves it out."""
    user = ready.get("user")
    user_id = user.get("id") if isinstance(user, Mapping) else None
    if isinstance(user_id, str) and user_id.isdecimal() and int(user_id) < 1 << 63:
        return int(user_id)
    return None


class BotBinding:
    """
    The bot of a store, as one fleet has it open.

    Args:
        refusal: the text for a store of another bot, given that one and ours.
    Attributes:
        bot_id: whose the store is; None until that is sure.
        is_ours: whether the token or READY says that what is stored is this bot's.
    """

    def __init__(self, refusal: Callable[[int, int], str]) -> None:
        self.bot_id: int | None = None
        self.is_ours = False
        self._refusal = refusal

    def opened(self, bound: int | None, bot_id: int | None) -> None:
        """
        The store is of the bot `bound`, and the token of `bot_id`; None where one does not say.

        Raises:
            UsageError: they are not the same.
        """
        self.check(bound, bot_id)
        self.bot_id = bound
        self.is_ours = bound is None or bot_id is not None

    def ready(self, bot_id: int | None) -> None:
        """
        READY came, and said whose it is; None where it does not say.

        Raises:
            UsageError: the store is another bot's.
        """
        if bot_id is not None:
            self.check(self.bot_id, bot_id)
            self.bot_id = bot_id
            self.is_ours = True

    def check(self, bound: int | None, bot_id: int | None) -> None:
        """Raise UsageError where both are known and not the same."""
        if bound is not None and bot_id is not None and bound != bot_id:
            raise UsageError(self._refusal(bound, bot_id))
