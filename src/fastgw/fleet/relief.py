"""
Connections that keep what their start-up burst needed are replaced, by RESUME, when it is quiet.

picows' read buffer doubles for a large frame and never shrinks, and no parameter changes that: one
guild of 318 KB takes a connection over TLS from 77 to 560 KB for good. A resume is free and loses
nothing, so a program that minds may have it done: a few at a time, the largest first, and only
where little comes in, for what comes meanwhile has to be replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..log import careful_logger
from ..protocol.signals import Cause
from .allocator import return_large_buffers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..shard.driver import ShardDriver

__all__ = ["Relief"]

log = careful_logger("fastgw.gateway")

# How often the shards are looked at. What has come between two looks says how quiet it is.
LOOK_S = 10.0
QUIET_BYTES = 64 * 1024
# Replaced at one look. With ten seconds between looks a thousand shards take forty minutes, and the
# service sees one RESUME in two or three seconds.
AT_ONCE = 4


class Relief:
    """
    Looks for connections to replace.

    Args:
        above_bytes: a read buffer larger than this is worth a RESUME; None never is.
    Attributes:
        count: how many were replaced.
    """

    def __init__(self, above_bytes: int | None) -> None:
        self.count = 0
        self._above_bytes = above_bytes
        if above_bytes is not None:
            return_large_buffers()
        self._look_at = 0.0
        self._received: dict[int, int] = {}  # at the last look, by shard id, of these connections

    def tick(self, now: float, drivers: Mapping[int, ShardDriver]) -> None:
        """Replace some connections if it is time to look; called about once a second."""
        if self._above_bytes is None or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        before, self._received = self._received, {}
        bloated: list[tuple[int, int]] = []
        are_up = True
        for shard_id, driver in drivers.items():
            if (load := driver.load()) is None:
                are_up = False  # after an outage, or while the last ones come back
                continue
            buffer_bytes, self._received[shard_id] = load
            came = self._received[shard_id] - before.get(shard_id, -QUIET_BYTES)
            if buffer_bytes > self._above_bytes and 0 <= came < QUIET_BYTES:
                bloated.append((buffer_bytes, shard_id))
        if not are_up or not bloated:
            return
        for buffer_bytes, shard_id in sorted(bloated, reverse=True)[:AT_ONCE]:
            log.info(
                "shard %d: replaced for its read buffer of %d bytes",
                shard_id,
                buffer_bytes,
                extra={"shard_id": shard_id, "cause": Cause.REPLACED.value},
            )
            del self._received[shard_id]
            drivers[shard_id].reconnect()
            self.count += 1
