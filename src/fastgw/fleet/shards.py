"""
How shards come into a fleet and leave it: taken from the store, connected, stopped, released.

What each is there for at the moment is the `Roster`'s to know; here it is moved.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ..log import careful_logger
from ..shard.driver import ShardDriver
from .closing import STORE_CLOSE_S
from .presence import Presences
from .roster import Roster
from .stores.sessions import warn_of_cold_resumes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from ..delivery.handlers import Handlers
    from ..protocol.identity import Identity
    from ..shard.link import ShardSetup
    from ..shard.ports import ShardHost
    from .stores.sessions import SessionWriter

__all__ = ["Shards"]

log = careful_logger("fastgw.gateway")


class Shards:
    """
    The shards of one fleet, on their way in and out.

    Args:
        host: hears of each.
        handlers: of their events.
        identity: that of any of them.
    Attributes:
        roster: which there are.
        count: how many the bot has in all; 0 while that is not known yet.
    """

    def __init__(self, host: ShardHost, handlers: Handlers, identity: Identity) -> None:
        self.roster = Roster()
        self.count = 0
        self._host = host
        self._handlers = handlers
        self._presences = Presences(identity)
        self._setup: ShardSetup | None = None
        self._sessions: SessionWriter | None = None
        self._has_warned = False  # of cold resumes; shards of other processes come one by one
        self._stops: set[asyncio.Task[None]] = set()  # of single ones

    def open(self, setup: ShardSetup, count: int, sessions: SessionWriter) -> None:
        """Have what all shards share, how many the bot has, and what tells the store of them."""
        self._setup, self.count, self._sessions = setup, count, sessions

    @property
    def stores_handled(self) -> bool:
        """Whether the store is told of what handlers have handled."""
        return self._setup is not None and self._setup.stores_handled

    # --- in --------------------------------------------------------------------------------------

    async def take(self, shard_ids: Collection[int], check: Callable[[], None]) -> None:
        """
        Take shards in, each with its stored session if that can be resumed; start none.

        Args:
            check: raises when nobody wants them any more, after the store has given them.
        Raises:
            UsageError: see `Roster.take` and `OpenStore.take`.
        """
        self.roster.take(shard_ids)
        try:
            drivers = await self._make_drivers(shard_ids)
            check()
        except BaseException:
            self.roster.refused(shard_ids)
            raise
        self.roster.joined(drivers)

    async def _make_drivers(self, shard_ids: Collection[int]) -> dict[int, ShardDriver]:
        sessions, setup = self._sessions, self._setup
        assert sessions is not None
        assert setup is not None
        identities = {i: self._presences.identity(i, self.count) for i in shard_ids}
        stored = await sessions.take(identities)
        if stored and not self._has_warned:
            missed = self._handlers.wanted_by_name(("READY", "GUILD_CREATE"))
            self._has_warned = bool(missed)
            if missed:
                warn_of_cold_resumes(missed)
        now, drivers = time.monotonic(), {}
        for shard_id, identity in identities.items():
            one = stored.get(shard_id)
            drivers[shard_id] = driver = ShardDriver(
                identity, setup, self._host,
                session=None if one is None else one.session,
                last_byte_at=None if one is None or one.age_s is None else now - one.age_s,
            )  # fmt: skip
            sessions.watch(shard_id, driver.stored_sequence)
        return drivers

    # --- out -------------------------------------------------------------------------------------

    def take_out(
        self, shard_id: int, *, keep_session: bool, comes_back: bool = False
    ) -> asyncio.Task[None]:
        """
        Stop one shard, and let others run it; the task ends when that is done.

        To be shielded from a cancellation of who waits: half of it, and nobody could ever run it.

        Args:
            comes_back: see `Roster.leaves`.
        Raises:
            ShardNotHere: it is not here.
        """
        driver = self.roster.leaves(shard_id, comes_back=comes_back)
        task = asyncio.get_running_loop().create_task(self._take_out(driver, keep_session))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)
        return task

    async def _take_out(self, driver: ShardDriver, keep_session: bool) -> None:
        sessions, shard_id = self._sessions, driver.shard.id
        assert sessions is not None
        try:
            await driver.close(keep_session=self._leave(driver, keep_session))
            if self.roster.is_ours(shard_id):
                await sessions.release(shard_id)
            else:
                sessions.forget(shard_id)
        finally:
            self.roster.released(shard_id)

    async def close(self, *, keep_session: bool) -> None:
        """
        Stop all of them at once; return when their sockets are gone.

        And those of single shards that are being stopped, for the store is closed next.
        """
        drivers = self.roster.drivers.values()
        await asyncio.gather(
            *(_close(driver, self._leave(driver, keep_session)) for driver in drivers)
        )
        if self._stops:
            await asyncio.wait(self._stops, timeout=STORE_CLOSE_S)

    def _leave(self, driver: ShardDriver, keep_session: bool) -> bool:
        """Tell whether the session is kept: always where it may be another process's by now."""
        if self.roster.is_ours(driver.shard.id):
            return keep_session
        driver.deafen()
        return True

    # --- all of them -----------------------------------------------------------------------------

    def set_presence(self, presence: Mapping[str, Any], shard_ids: Collection[int] | None) -> None:
        """Show a presence, now and in every later session, on some shards or on all."""
        roster = self.roster
        ids = roster.drivers if shard_ids is None else shard_ids
        drivers = {shard_id: roster.here(shard_id) for shard_id in ids}
        self._presences.set(presence, shard_ids)
        for shard_id, driver in drivers.items():
            driver.set_presence(self._presences.identity(shard_id, self.count))

    def use_url(self, url: str) -> None:
        """Connect to this main URL from the next attempt on, also with shards that start later."""
        if self._setup is not None:
            self._setup = self._setup._replace(url=url)
        for driver in self.roster.drivers.values():
            driver.use_url(url)

    def deafen(self) -> None:
        """Hand out no event any more; may be called between any two lines of the program."""
        for driver in self.roster.drivers.values():
            driver.deafen()


async def _close(driver: ShardDriver, keep_session: bool) -> None:
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
