"""
Shards whose lease is over: put out before anybody else may own them, taken again when that works.

Theory. A store that several machines share gives a shard on lease. Who cannot renew it must end
before it runs out: by a clock of this machine that no one sets, counted from before the last
renewal was sent. The connection is closed so that its session stays, no event of it is handed out
any more, and nothing of it is stored. The shard then waits until it can be taken again, from
wherever its session is by then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import ShardNotHere
from ..log import careful_logger
from ..quoting import ranges

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..shard.face import Shard
    from .sessions import SessionWriter

__all__ = ["Fencing"]

log = careful_logger("fastgw.store")

# Between two attempts to take a shard again, seconds; the store waits for a lease of its own.
AGAIN_S = 1.0


class Fencing:
    """
    Looks after the leases of one fleet.

    Args:
        stop, start: take one shard out of the fleet, and in.
        shard: one that runs, None when it does not.
    """

    def __init__(
        self,
        stop: Callable[[int], Awaitable[object]],
        start: Callable[[int], Awaitable[object]],
        shard: Callable[[int], Shard | None],
    ) -> None:
        self._stop = stop
        self._start = start
        self._shard = shard
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, sessions: SessionWriter) -> None:
        """Look from now on, if the store knows leases."""
        if (look_s := sessions.look_s) is not None:
            self._look(sessions, look_s)

    def stop(self) -> None:
        """Look no more, and take nothing again."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _look(self, sessions: SessionWriter, look_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(look_s, self._look, sessions, look_s)
        if not (expired := sessions.fence()):
            return
        log.error(
            "the lease of shards %s is over: they are disconnected, their sessions stay, and they "
            "are taken again as soon as the store gives them",
            ranges(expired),
        )
        for shard_id in expired:
            task = loop.create_task(self._out_and_in(shard_id), name=f"fastgw fence {shard_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _out_and_in(self, shard_id: int) -> None:
        try:
            await self._stop(shard_id)
        except ShardNotHere:
            return  # its program stopped it at the same time
        is_told = False
        while self._shard(shard_id) is None and (error := await self._try(shard_id)) is not None:
            if not is_told:
                is_told = True
                log.warning("shard %d is not taken again yet: %s", shard_id, error)
            await asyncio.sleep(AGAIN_S)

    async def _try(self, shard_id: int) -> Exception | None:
        """Take a shard; return why that cannot be now, also what a store of the user's raised."""
        try:
            await self._start(shard_id)
        except Exception as error:
            return error
        log.warning("shard %d is taken again", shard_id)
        return None
