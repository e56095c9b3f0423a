"""What a consumer knows of the gateways that publish for it, and what it says of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Collection

    from .streams import EventStreams

__all__ = ["Counterpart"]

log = careful_logger("fastgw.streams")

NOBODY_S = 10.0  # of a consumer that starts before its gateway
AWAY_S = 60.0  # of a gateway that was there: a deploy takes so long


class Counterpart:
    """
    The gateways that publish: whether there is one, and of how many shards.

    Args:
        streams: the way to the server.
        group: whose consumer asks.
        shard_count: of the bot, as the consumer was told; 0 where it was told some ids.
        shard_ids: whose mailboxes it reads.
    Attributes:
        is_there: whether one was, at the last look; None before.
    """

    def __init__(
        self, streams: EventStreams, group: str, shard_count: int, shard_ids: Collection[int]
    ) -> None:
        self.is_there: bool | None = None
        self._streams = streams
        self._group = group
        self._is_exact = shard_count > 0
        self._here = shard_count or max(shard_ids) + 1
        self._missing_at: float | None = None  # since when there is none
        self._patience_s = NOBODY_S
        self._is_told = False
        self._wrong = ""

    async def look(self) -> str:
        """
        Look whether one is there; return what is wrong with its number of shards, or nothing.

        Raises:
            redis.RedisError: the server is away.
        """
        key = self._streams.key
        count = await self._streams.run("count", [key("about"), key("owners")], [key("alive", "")])
        self._seen(bool(count), time.monotonic())
        if not count or self._here == int(count):
            return ""
        if not self._is_exact and self._here < int(count):
            return ""
        return (
            f"the bot has {int(count)} shards, and this consumer of group {self._group!r} reads of "
            f"{self._here}: start all of its consumers with shards={int(count)}"
        )

    async def watch(self) -> None:
        """Look, and say once what is wrong by now."""
        wrong = await self.look()
        if wrong and wrong != self._wrong:
            log.error("%s", wrong)
        self._wrong = wrong

    def _seen(self, is_there: bool, now: float) -> None:
        self.is_there = is_there
        if is_there:
            if self._is_told:
                log.info("a gateway publishes for group %r now", self._group)
            self._missing_at, self._patience_s, self._is_told = None, AWAY_S, False
            return
        if self._missing_at is None:
            self._missing_at = now
        if now - self._missing_at >= self._patience_s and not self._is_told:
            self._is_told = True
            log.warning(
                "nobody publishes for group %r under prefix %r at %s: is a gateway running with "
                "publish=Publisher(...) and this prefix?",
                self._group, self._streams.prefix, self._streams.shown,
            )  # fmt: skip
