"""
What compression messages come with: as asked for, or none once the service has shown that it does
not compress.
"""

from __future__ import annotations

from ..errors import NotCompressed
from ..log import careful_logger

__all__ = ["Compression"]

log = careful_logger("fastgw.shard")


class Compression:
    """
    One for all shards of a gateway: what one learns, the others need not.

    Args:
        mode: what to ask for, in the Decoder's words.
        is_chosen: the user named it, so nothing else will do.

    Attributes:
        mode: what to ask for now.
    """

    __slots__ = ("_is_chosen", "mode")

    def __init__(self, mode: str, *, is_chosen: bool) -> None:
        self.mode = mode
        self._is_chosen = is_chosen

    @property
    def in_url(self) -> str | None:
        """What the query of the URL asks for; "payload" is asked for by IDENTIFY instead."""
        return self.mode if self.mode.endswith("-stream") else None

    def does_without(self, error: BaseException | None, messages: int) -> bool:
        """
        Give compression up if that is what ended a connection, and nobody insists on it.

        Args:
            error: why the connection ended.
            messages: how many it had brought, the one that failed included. Text in the middle of a
                compressed stream is a broken stream; only at its beginning it is an answer.
        Returns:
            Whether the next connection goes without.
        """
        if not isinstance(error, NotCompressed) or messages > 1 or self._is_chosen:
            return False
        if self.in_url is not None:
            log.warning(
                "the service does not compress (it, or a proxy before it, answers in text); going "
                'on without: pass compress="none" if that is right'
            )
            self.mode = "none"
        return True
