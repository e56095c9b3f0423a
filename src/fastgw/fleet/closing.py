"""Steps of a fleet's end, each taken whatever becomes of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..connection.time_limit import time_limit
from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..shard.driver import ShardDriver
    from .stores.sessions import SessionWriter

__all__ = ["Stops", "close_store"]

log = careful_logger("fastgw.gateway")

# A store that takes longer to close does not close at all.
STORE_CLOSE_S = 10.0


class Stops:
    """The ends of one fleet's shards, each to its end: of one at run time, of all at the close."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # of single ones

    async def one(
        self, driver: ShardDriver, sessions: SessionWriter | None, *, keep_session: bool
    ) -> None:
        """
        Stop one shard, and let others run it.

        To the end, also when who asked for it is cancelled: half of it, and nobody could ever run
        it.
        """
        if sessions is not None:
            sessions.leaves(driver.shard.id)
        task = asyncio.get_running_loop().create_task(_stop_shard(driver, sessions, keep_session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def all(self, drivers: Collection[ShardDriver], *, keep_session: bool) -> None:
        """
        Stop all of them at once; return when their sockets are gone.

        And those of single shards that are under way, for the store is closed next.
        """
        await asyncio.gather(*(_close_shard(driver, keep_session) for driver in drivers))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STORE_CLOSE_S)


async def _stop_shard(
    driver: ShardDriver, sessions: SessionWriter | None, keep_session: bool
) -> None:
    shard_id = driver.shard.id
    try:
        if sessions is not None and sessions.is_fenced(shard_id):
            driver.deafen()
            keep_session = True  # it may be another process's by now
        await driver.close(keep_session=keep_session)
        if sessions is not None:
            await sessions.release(shard_id)
    finally:
        if sessions is not None:
            sessions.left(shard_id)


async def _close_shard(driver: ShardDriver, keep_session: bool) -> None:
    try:
        await driver.close(keep_session=keep_session)
    except Exception as error:
        log.error(
            "shard %d did not close, and is dropped",
            driver.shard.id,
            exc_info=error,
            extra={"shard_id": driver.shard.id},
        )
        driver.stopped(None)


async def close_store(sessions: SessionWriter | None) -> None:
    """Close the store, which may be the user's: it cannot hold the end up."""
    if sessions is None:
        return
    try:
        with time_limit(STORE_CLOSE_S):
            await sessions.close()
    except Exception as error:
        log.error("the session store did not close", exc_info=error)
