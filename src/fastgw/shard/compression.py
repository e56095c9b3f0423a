"""
What compression messages come with: as asked for, or what costs least for so many shards, or none
once the service has shown that it does not compress.
"""

from __future__ import annotations

from ..errors import NotCompressed
from ..log import careful_logger

__all__ = ["Compression"]

log = careful_logger("fastgw.shard")

# zstd takes 17 % less time a message than zlib, 64 % less for a guild of the start-up burst
# (bench/test_compression.py), and holds 0.57 MB a connection against 0.04 once it is used
# (python -m bench.many contexts). With this many shards that is 18 MB, about what their events in
# flight may hold; with a thousand it would be half a gigabyte.
MAX_ZSTD_SHARDS = 32


class Compression:
    """
    One for all shards of a gateway: what one learns, the others need not.

    Args:
        chosen: what the user named, in the Decoder's words: nothing else will do. None is for what
            costs least.
        shards: how many shards there are.

    Attributes:
        mode: what to ask for now.
    """

    __slots__ = ("_is_chosen", "mode")

    def __init__(self, chosen: str | None, *, shards: int) -> None:
        cheapest = "zstd-stream" if shards <= MAX_ZSTD_SHARDS else "zlib-stream"
        self.mode = chosen or cheapest
        self._is_chosen = chosen is not None

    @property
    def in_url(self) -> str | None:
        """What the query of the URL asks for; "payload" is asked for by IDENTIFY instead."""
        return self.mode if self.mode.endswith("-stream") else None

    def does_without(self, error: BaseException | None, messages: int) -> bool:
        """
        Do without compression if that is what ended a connection, and nobody insists on it.

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
